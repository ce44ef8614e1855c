"""The report in a real browser, from a folder: click, sort, filter, point, type, light and dark, wide and narrow.

Needs Playwright's package and a Chromium: that of CREDIT_ZOO_BROWSER, or the first of the usual names on the path.
"""

import os
import shutil

import pytest
from report_site import SCRIPT, made_pages

pytestmark = pytest.mark.slow
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'credit_zoo[browser]'")
    found = os.environ.get("CREDIT_ZOO_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: CREDIT_ZOO_BROWSER is not set, and none of {', '.join(NAMES)} is on the path")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    for path, text in made_pages(folder / "records").items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    return folder


@pytest.fixture
def visit(browser, site):
    """Opens a page of the site; what it asks the network for, and what goes wrong in it, fails the test."""
    opened, faults = [], []

    def go(path, width=1280, scheme="light", scripts=True):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
        )
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda told: faults.append(told.text) if told.type in ("error", "warning") else None)
        page.on("dialog", lambda dialog: (faults.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else faults.append(asked.url))
        page.goto((site / path).as_uri())
        opened.append(context)
        return page

    yield go
    for context in opened:
        context.close()
    assert faults == []


def column(page, table, number):
    return page.locator(f"#{table} tbody tr:visible td:nth-child({number})").all_inner_texts()


def numbers(page, table, number):
    """What a column says, first numbers; blank cells as None."""
    return [
        float(text.split()[0]) if text.strip()[:1].lstrip("-").isdigit() else None
        for text in column(page, table, number)
    ]


def test_a_click_sorts_and_another_turns_it_round(visit):
    page = visit("index.html")
    head = page.locator("#instrument th", has_text="efficiency")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    down = [value for value in numbers(page, "instrument", 3) if value is not None]
    assert down == sorted(down, reverse=True) and len(down) == 5
    assert column(page, "instrument", 3)[-1] == "", "what is missing stands at the end"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    up = [value for value in numbers(page, "instrument", 3) if value is not None]
    assert up == down[::-1]
    assert column(page, "instrument", 3)[-1] == "", "and does so either way"
    page.locator("#instrument th", has_text="rule").first.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    names = column(page, "instrument", 1)
    assert names == sorted(names, reverse=True)


def test_filters_by_text_and_kind_work_together_and_say_how_much_is_left(visit):
    page = visit("index.html")
    box, count = page.locator("#instrument"), page.locator("#instrument [data-count]")
    every, beside = len(column(page, "instrument", 1)), column(page, "training", 1)
    assert count.inner_text() == f"{every} rows"
    box.get_by_label("status").select_option("control")
    assert set(column(page, "instrument", 1)) == {"oracle_exact"}
    assert count.inner_text() == f"2 of {every} rows"
    box.get_by_label("status").select_option("")
    box.get_by_label("Filter").fill("PEPO")
    assert set(column(page, "instrument", 1)) == {"pepo"}
    box.get_by_label("Filter").fill("no such thing")
    assert column(page, "instrument", 1) == [] and count.inner_text() == f"0 of {every} rows"
    assert column(page, "training", 1) == beside, "the other table is not touched"
    box.get_by_label("Filter").fill("")
    assert len(column(page, "instrument", 1)) == every
    page.locator("#training").get_by_label("when").select_option("while learning")
    assert sorted(column(page, "training", 1)) == ["pepo", "permuted_pepo", "uniform"]
    assert set(column(page, "training", 4)) == {"geometry3k (twin), while learning"}


def test_links_lead_from_the_board_to_a_rule_and_its_runs(visit):
    page = visit("index.html")
    page.locator("#instrument").get_by_role("link", name="pepo").first.click()
    assert page.locator("h1").inner_text() == "pepo"
    page.locator("ul.columns a").first.click()
    assert "Repeat it" in page.content() and "python -m credit_zoo.run" in page.locator("pre.command").inner_text()
    page.get_by_role("link", name="Board").click()
    assert page.locator("h1").inner_text() == "Board"


def token(page, side, number, answer="0-0-0"):
    return page.locator(f'[data-answer="{answer}"] [data-side="{side}"] .tok').nth(number)


def ground(place):
    return place.evaluate("one => getComputedStyle(one).backgroundColor")


def test_pointing_at_a_token_tells_its_numbers_and_marks_it_under_both_rules(visit):
    page = visit("credit.html")
    page.get_by_label("left").select_option("pepo")
    page.get_by_label("right").select_option("uniform")
    tip = page.get_by_role("status")
    assert tip.is_hidden()
    token(page, "left", 0).hover()
    told = tip.inner_text()
    assert "token 1 of 5: filler" in told and "pepo: credit −1.000, weight 2.000" in told
    assert "uniform: credit −0.500, weight 1.000" in told
    token(page, "right", 3).hover()
    told = tip.inner_text()
    assert "read, first error" in told and "A*: −0.250, chance of a right answer 0.25 → 0.00" in told
    assert page.locator('[data-answer="0-0-0"] .tok.same').count() == 2
    token(page, "left", 4).hover()
    assert SCRIPT in tip.inner_text(), "as text"
    page.locator("h1").hover()
    assert tip.is_hidden()


def test_tokens_are_coloured_by_the_chosen_rule(visit):
    page = visit("credit.html")
    page.get_by_label("colours show").select_option("weight")
    page.get_by_label("left").select_option("uniform")
    page.get_by_label("right").select_option("pepo")
    plain = ground(token(page, "left", 0))
    assert [ground(token(page, "left", place)) == plain for place in range(5)] == [True] * 5
    first, middle, last = (ground(token(page, "right", place)) for place in (0, 1, 4))
    assert middle == plain and len({first, middle, last}) == 3, "above, at and below 1"
    above = [token(page, "right", place).evaluate("one => one.classList.contains('more')") for place in range(5)]
    assert above == [True, False, False, False, False], "the colour is not the only sign"
    page.get_by_label("right").select_option("permuted(pepo)")
    assert ground(token(page, "right", 0)) == last and ground(token(page, "right", 2)) == first
    page.get_by_label("right").select_option("A* (the truth)")
    assert page.locator("[data-answer] [data-name=right]").first.inner_text() == "A* (the truth)"
    assert ground(token(page, "right", 0)) == plain and ground(token(page, "right", 3)) != plain


def test_tokens_can_be_read_with_the_keyboard_alone(visit):
    page = visit("credit.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    token(page, "left", 0).focus()
    tip = page.get_by_role("status")
    assert "token 1 of 5" in tip.inner_text()
    for key, place in (("ArrowRight", 2), ("End", 5), ("ArrowRight", 5), ("ArrowLeft", 4), ("Home", 1)):
        page.keyboard.press(key)
        assert f"token {place} of 5" in tip.inner_text()
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    page.keyboard.press("Tab")
    inside = page.evaluate("document.activeElement.closest('[data-side]').dataset.side")
    assert inside == "right", "one step leaves the answer, however many tokens it has"


def test_sorting_and_filtering_can_be_reached_with_the_keyboard(visit):
    page = visit("index.html")
    page.locator("#instrument").get_by_label("Filter").focus()
    page.keyboard.type("pepo")
    assert set(column(page, "instrument", 1)) == {"pepo"}
    page.locator("#instrument th button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#instrument th").first.get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize(
    "path", ["index.html", "credit.html", "weights.html", "rules/pepo.html", "rules.html", "runs.html"]
)
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_but_a_table_or_a_chart_scrolls_sideways(visit, path, width):
    page = visit(path, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_light_and_dark_follow_the_system(visit):
    grounds = {}
    for scheme in ("light", "dark"):
        page = visit("credit.html", scheme=scheme)
        grounds[scheme] = ground(page.locator("body"))
        rule = visit("rules/pepo.html", scheme=scheme)
        text = rule.locator("svg.chart text").first.evaluate("one => getComputedStyle(one).fill")
        assert text == rule.evaluate("getComputedStyle(document.body).color")
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 22, 26)"}


def test_the_weights_are_coloured_like_the_tokens(visit):
    page = visit("weights.html")
    uniform, unknown = (page.locator("table.heat").nth(2).locator("td").nth(place) for place in (3, 0))
    assert (uniform.inner_text(), unknown.inner_text()) == ("1.00", "0.00")
    assert ground(uniform) != ground(unknown) == ground(page.locator(".key [data-away='0']"))


def test_without_scripts_the_pages_can_still_be_read(visit):
    page = visit("credit.html", scripts=False)
    assert token(page, "left", 3).inner_text() == "7" and SCRIPT in token(page, "left", 4).inner_text()
    board = visit("index.html", scripts=False)
    assert len(column(board, "instrument", 1)) >= 8
