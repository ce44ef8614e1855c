"""The report's pages are whole, lead to each other, load nothing, escape what they show, and say what was measured."""

import gzip
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from records import a_credit_record, estimate
from report_site import SCRIPT, kept_log, made_pages, records_folder, some_examples, trained
from test_curves import luminance

from credit_zoo.cli.commands import command_of
from credit_zoo.credit.record import RuleCredit
from credit_zoo.lab import credit_colors
from credit_zoo.leaderboard.answer import details, leading
from credit_zoo.registry import SHAPERS
from credit_zoo.report import board, site
from credit_zoo.report.charts import chart
from credit_zoo.report.examples import Examples, load, restricted, save
from credit_zoo.report.pages import prose
from credit_zoo.report.profiles import agreement_of, kinds_of, profile_of, tenths
from credit_zoo.report.rule_facts import docstring_parts, page_of, paper_url, rule_facts
from credit_zoo.report.runs import kept_answers
from credit_zoo.report.sources import read_sources
from credit_zoo.report.tables import from_markdown, unescaped
from credit_zoo.results.markdown import grid
from credit_zoo.results.store import CorruptRecord

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
VOID = {"meta", "input", "img", "br", "hr", "link"}
RAW = ("script", "style")


class Tree(HTMLParser):
    """What a page holds: elements with their attributes, text outside scripts and styles, and what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words, self.raw = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes another"

    def handle_data(self, data):
        (self.raw if self.open and self.open[-1] in RAW else self.words).append(data)

    def all(self, tag, **wanted):
        """The attributes of the elements of a tag that have these."""
        wanted = {name.replace("_", "-"): value for name, value in wanted.items()}
        return [attrs for one, attrs in self.elements if one == tag and wanted.items() <= attrs.items()]

    @property
    def text(self):
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return made_pages(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def trees(pages):
    return {path: Tree(text) for path, text in pages.items()}


# --- form ------------------------------------------------------------------------------------------------------------


def test_there_is_a_page_for_every_rule_and_every_run(pages):
    assert {"index.html", "credit.html", "weights.html", "laboratory.html", "rules.html", "runs.html"} <= pages.keys()
    assert {page_of(name) for name in SHAPERS} == {path for path in pages if path.startswith("rules/")}
    assert len([path for path in pages if path.startswith("runs/")]) == 7


def test_every_page_is_whole_and_can_be_heard(trees):
    for path, tree in trees.items():
        (page,) = tree.all("html")
        assert page["lang"] == "en" and len(tree.all("h1")) == len(tree.all("title")) == len(tree.all("main")) == 1, (
            path
        )
        ids = [attrs["id"] for _, attrs in tree.elements if "id" in attrs]
        assert len(ids) == len(set(ids)), path
        assert all(image.get("alt") for image in tree.all("img"))
        assert all(one["role"] == "img" and one["aria-label"] for one in tree.all("svg"))
        assert all("scope" in head for head in tree.all("th"))
        assert all("tabindex" in one and "aria-label" in one for one in tree.all("div", role="region"))


def test_every_link_leads_to_a_page_and_nothing_is_loaded(trees):
    for path, tree in trees.items():
        here = Path(path).parent
        for tag, attrs in tree.elements:
            link = attrs.get("href", "")
            if tag == "a" and not link.startswith(("#", "https://arxiv.org/abs/")):
                assert _resolved(here / link) in trees, link
            assert tag not in ("link", "iframe", "object", "base")
            assert attrs.get("src", "data:").startswith("data:")
        style = "".join(tree.raw)
        assert "@import" not in style and not re.search(r"url\((?!#)", style)
        assert not re.search(r"\b(fetch|XMLHttpRequest|import)\s*\(", style)


def _resolved(path):
    parts = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def test_the_same_records_give_the_same_bytes(pages, tmp_path):
    again = made_pages(tmp_path)
    assert again.keys() == pages.keys()
    assert [path for path in pages if again[path] != pages[path]] == []


# --- what is shown is escaped ----------------------------------------------------------------------------------------


def test_nothing_that_is_shown_becomes_a_part_of_the_page(pages, trees):
    for path, tree in trees.items():
        scripts = tree.all("script")
        assert len(scripts) == 1 + len(tree.all("script", type="application/json")), path
        assert "<script>alert" not in pages[path]
    assert SCRIPT in trees["index.html"].text and SCRIPT in trees["credit.html"].text
    run = next(
        tree for path, tree in trees.items() if path.startswith("runs/") and "pepo-0" in path and "permuted" not in path
    )
    assert run.text.count(SCRIPT) >= 3, "the note, the question and the answer"


def test_the_data_of_the_viewer_cannot_end_its_own_script(trees):
    tree = trees["credit.html"]
    data = json.loads(next(one for one in tree.raw if one.lstrip().startswith("{")))
    assert set(data["answers"]) == {"0-0-0", "0-0-1"}
    assert data["answers"]["0-0-0"]["credit"]["pepo"] == [-1.0, -0.5, -0.5, -0.5, 0.0]


def test_a_rule_from_outside_is_shown_and_its_docstring_escaped(tmp_path, own_registrations):
    plugin = tmp_path / "rude.py"
    plugin.write_text(
        f'"""Rude {SCRIPT} & `co`.\n\n    A[b,t] = A[b]   # {SCRIPT}\n\nPaper: `{SCRIPT}`.\n"""\n'
        "from dataclasses import dataclass\nfrom credit_zoo.registry import SHAPERS\n"
        f'@SHAPERS.register("rude", paper="none {SCRIPT}")\n@dataclass(frozen=True)\nclass Rude:\n'
        f'    strength: float = 0.5  # {SCRIPT}\n'
        "    def __call__(self, x):\n        return x.weighted(x.mask.float())\n"
    )  # fmt: skip
    own_registrations.add_plugin(plugin)
    pages = made_pages(tmp_path, examples=())
    tree = Tree(pages["rules/rude.html"])
    assert len(tree.all("script")) == 1
    assert tree.text.count(SCRIPT) == 5, "summary, equation, note, paper, setting"
    assert SCRIPT in Tree(pages["rules.html"]).text


# --- the board -------------------------------------------------------------------------------------------------------


def rule(name, value, half, over=None, control=False):
    numbers = {"efficiency": estimate(value, half), "over_shuffle": estimate(over, half) if over else None}
    return RuleCredit(name, "0" * 16, control, 1.0, 0.5, 1.0, numbers)


def test_the_answer_in_words_is_the_leaderboards_a_line_for_each_measurement(trees, tmp_path):
    found = read_sources(str(records_folder(tmp_path)))
    said = [*leading(found.arms, found.credit), *details(found.arms, found.credit)]
    assert len(said) >= 3 and any(one.startswith("Told: Holm") for one in said)
    assert any("pepo" in one and "The instrument (" in one for one in said)
    assert "told above own shuffle" in trees["index.html"].text, "a row a rule"
    items = trees["index.html"].text
    for one in said:
        assert " ".join(re.sub(r"[`*]", "", unescaped(one)).split()) in items


def test_marks_of_prose_become_elements_and_nothing_else_does():
    assert str(prose("`a*b*c` **x** *y z* 2*3*4 <i>")) == (
        "<code>a*b*c</code> <strong>x</strong> <em>y z</em> 2*3*4 &lt;i&gt;"
    )


def test_cells_have_what_they_are_sorted_by_and_rows_what_they_are_filtered_by(trees):
    tree = trees["index.html"]
    rows = [attrs for attrs in tree.all("tr") if "data-status" in attrs]
    assert {row["data-status"] for row in rows} == {"ranked", "control", "reference"}
    assert {row["data-policy"] for row in rows} == {"small", "own/small"} and {row["data-bench"] for row in rows} == {
        "geometry3k"
    }
    values = [float(cell["data-sort"]) for cell in tree.all("td") if "number" in cell.get("class", "")]
    assert 1.4 in values and 0.9 in values


def test_the_instrument_is_ordered_controls_last_and_missing_numbers_below():
    record = replace(a_credit_record(), rules=(rule("uniform", 1.0, 0.0), rule("pepo", 0.5, 0.1), rule("oracle_exact", 9.0, 0.1, control=True), replace(rule("vppo", 1, 0), numbers={})))  # fmt: skip
    table = board.instrument_table([record], {})
    assert [row.cells[0].text for row in table.rows] == ["uniform", "pepo", "vppo", "oracle_exact"]
    assert [row.cells[2].tone for row in table.rows] == ["", "down", "", "up"]


def test_a_table_of_another_page_is_shown_as_it_is():
    text = grid(["a|b", "n"], [["x <y> | z", "-1,234.5 [2, 3]"], ["", "open"]])
    table = from_markdown("t", "T", text)
    assert table.header == ("a|b", "n")
    assert [[cell.text for cell in row.cells] for row in table.rows] == [["x <y> | z", "-1,234.5 [2, 3]"], ["", "open"]]
    assert [row.cells[1].sort for row in table.rows] == [-1234.5, "open"] and table.rows[1].cells[0].sort is None
    assert from_markdown("t", "T", "Nothing yet.\n") is None


# --- rules -----------------------------------------------------------------------------------------------------------


def test_a_docstring_in_its_parts():
    doc = "One line.\n\n    A = B\n        = C\n\nPaper: P. More\ntext.\n\n    another block\n"
    assert docstring_parts(doc) == ("One line.", "A = B\n    = C", ("Paper: P. More text.", "another block"))
    assert docstring_parts("Only this.") == ("Only this.", "", ())


@pytest.mark.parametrize("name", sorted(SHAPERS))
def test_every_rule_has_an_equation_and_a_paper_or_says_that_there_is_none(name):
    facts = rule_facts(name)
    assert facts.equation and facts.summary, name
    assert facts.url.startswith("https://arxiv.org/abs/2") or not facts.paper.startswith("arXiv"), name
    assert dict(facts.facts)["scope"].startswith(SHAPERS[name].facts.scope)


def test_the_page_of_a_paper():
    assert paper_url("PEPO, arXiv:2603.22847v2") == "https://arxiv.org/abs/2603.22847"
    assert paper_url("CGPO, ACM MM 2026") == paper_url("none") == ""


def test_the_file_of_a_page_leaves_its_folder_never():
    assert page_of("permuted(pepo)") == "rules/permuted-pepo.html"
    assert page_of("../../x") == "rules/x.html"


# --- weights by position and role, agreement -------------------------------------------------------------------------


def test_tokens_fall_into_tenths_of_their_response():
    assert tenths(10).tolist() == list(range(10))
    assert tenths(4).tolist() == [0, 2, 5, 7] and tenths(20).tolist()[-3:] == [8, 9, 9]


def test_mean_weights_by_position_and_kind():
    marks = kinds_of(np.array([0] * 5 + [1] * 5), np.array([True] + [False] * 9), ("read", "derived", "filler"))
    profile = profile_of([(np.array([2.0] * 5 + [0.0] * 5), marks), (np.array([4.0] * 5 + [0.0] * 5), marks)])
    assert profile.mean == (3.0,) * 5 + (0.0,) * 5 and profile.low[0] == 2.5 and profile.high[0] == 3.5
    assert profile.kinds == {"read": 3.0, "derived": 0.0, "filler": None, "no role": None, "first error": 3.0}


def test_agreement_is_the_correlation_of_ranks():
    same = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 900.0], [3.0, 2.0, 1.0], [5.0, 5.0, 5.0]])
    first = [1.0, 1.0, -1.0, 0.0]
    assert agreement_of([same])[0] == tuple(first)
    assert agreement_of([same, -same])[0] == tuple(first), "the sign of all credit changes no order of two rules"
    assert agreement_of([same])[3] == (0.0,) * 4, "a constant rule agrees with none"


# --- kept answers ----------------------------------------------------------------------------------------------------


def test_kept_answers_come_back_as_they_were(tmp_path):
    examples = some_examples()
    save(examples, tmp_path / "kept.json")
    assert load(tmp_path / "kept.json") == examples
    assert examples.compared == ("uniform", "pepo")


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"schema": 9}'])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "kept.json"
    path.write_text(damage)
    with pytest.raises(CorruptRecord, match=r"kept\.json"):
        load(path)


def test_a_damaged_log_and_one_of_an_unknown_benchmark_are_named_and_the_others_shown(tmp_path, capsys):
    folder = kept_log(tmp_path)
    (whole,) = folder.rglob("*.jsonl.gz")
    content = whole.read_bytes()
    (whole.parent / "cut-after.jsonl.gz").write_bytes(content[:-20])
    other = gzip.decompress(content).replace(b'"bench": "geometry3k"', b'"bench": "of_a_plugin"')
    (whole.parent / "other-after.jsonl.gz").write_bytes(gzip.compress(other))
    (shown,) = kept_answers(trained("pepo", 0), folder)
    assert shown.name == whole.name
    said = capsys.readouterr().err
    assert "cut-after.jsonl.gz" in said and "of_a_plugin" in said


def test_answers_are_kept_until_rules_questions_or_weights_change():
    kept: Examples = some_examples()
    assert kept.lacks({"pepo": "b"}, 1, kept.files) == ""
    assert "without vppo" in kept.lacks({"pepo": "b", "vppo": "x"}, 1, kept.files)
    assert "older code of pepo" in kept.lacks({"pepo": "new"}, 1, kept.files)
    assert "3 questions" in kept.lacks({"pepo": "b"}, 3, kept.files)
    assert kept.lacks({"pepo": "b"}, 1, "0" * 16) == "other weights"


def test_a_part_of_what_is_kept_is_shown():
    part = restricted(some_examples(), {"uniform", "permuted(pepo)"}, 1)
    assert list(part.rules) == ["uniform", "permuted(pepo)"] and list(part.profiles) == ["uniform"]
    assert part.compared == ("uniform",) and part.agreement == ((0.0,),)
    assert set(part.questions[0].answers[0].credit) == {"uniform", "permuted(pepo)"}
    assert restricted(some_examples(), {"uniform"}, 0).questions == ()


def test_what_is_published_is_read_and_what_it_lacks_is_measured_and_kept_elsewhere(tmp_path, monkeypatch, capsys):
    published, own = tmp_path / "published", tmp_path / "own"
    rules = dict(some_examples().rules)
    made = []
    monkeypatch.setattr(site, "wanted_rules", lambda bench, shapers: rules)
    monkeypatch.setattr(site, "files_digest", lambda model: some_examples().files)
    monkeypatch.setattr(
        site, "measured_examples", lambda *asked: made.append(asked) or some_examples(rules=rules)
    )  # fmt: skip
    save(some_examples(), published / "geometry3k-small.json")
    before = (published / "geometry3k-small.json").read_bytes()
    settings = site.Report(model="small", examples=1)
    assert len(site.kept_examples(settings, [published, own])) == 1 and made == []
    rules["pepo"] = "newer code"
    site.kept_examples(settings, [published, own])
    assert len(made) == 1 and "older code of pepo" in capsys.readouterr().err
    site.kept_examples(settings, [published, own])
    assert len(made) == 1, "now it is kept"
    assert (published / "geometry3k-small.json").read_bytes() == before


ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("model", ["small", "habits"])
def test_the_committed_answers_say_what_a_twin_can_tell(model):
    kept = load(ROOT / "leaderboard" / "examples" / f"geometry3k-{model}.json")
    for said in (said for asked in kept.questions for said in asked.answers):
        assert said.value + sum(said.truth) == pytest.approx(said.score, abs=0.01)
        assert set(said.credit["uniform"]) == {said.advantage}
        assert (said.advantage > 0) == (said.score >= 1)
        assert all(len(row) == len(said.tokens) for row in (said.role, said.error, *said.credit.values()))
        assert any(said.error) == bool(said.mistake)
    assert kept.agreement[kept.compared.index("pepo")][kept.compared.index("pepo")] == 1.0


@pytest.mark.slow
def test_answers_are_sampled_and_measured_as_they_are_kept():
    from credit_zoo.report.example_measurement import measured_examples, wanted_rules

    rules = wanted_rules("geometry3k", "siblings,oracle_exact")
    assert list(rules) == ["uniform", "siblings", "oracle_exact", "permuted(siblings)"]
    made = measured_examples("geometry3k", "small", rules, 1)
    kept = load(ROOT / "leaderboard" / "examples" / "geometry3k-small.json")
    assert made.files == kept.files and made.accuracy == pytest.approx(kept.accuracy)
    for one, other in zip(made.questions[0].answers, kept.questions[0].answers, strict=True):
        assert one.tokens == other.tokens
        assert one.credit["siblings"] == pytest.approx(other.credit["siblings"], abs=2e-4)


# --- charts and colours ----------------------------------------------------------------------------------------------


def test_a_chart_stands_in_the_page_in_its_own_colours_with_ids_of_its_own():
    from matplotlib.figure import Figure

    def draw(out):
        figure = Figure()
        figure.subplots().plot([0, 1], [0, 1], color="C0", label="costs $5 & <more>")
        figure.axes[0].legend()
        figure.savefig(out)

    text = chart("mine", 'a "title"', draw)
    assert text == chart("mine", 'a "title"', draw)
    assert text.startswith("<svg") and "<metadata" not in text and "#ffffff" not in text and "#1f77b4" not in text
    assert "var(--line-0)" in text and "costs $5 &amp; &lt;more&gt;" in text
    tree = Tree(text)
    assert all(attrs["id"].startswith("mine-") for _, attrs in tree.elements if "id" in attrs)
    assert all(attrs["xlink:href"].startswith("#mine-") for _, attrs in tree.elements if "xlink:href" in attrs)


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def rgb(text):
    return tuple(int(text[at : at + 2], 16) for at in (1, 3, 5))


def test_text_can_be_read_on_every_ground_light_and_dark(pages):
    style = re.search(r"<style>(.*?)</style>", pages["index.html"], re.DOTALL)[1]
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in style.split("prefers-color-scheme: dark", 1)
    )
    dark = {name: dark[name] for name in light}
    for colors in (light, dark):
        for text in ("text", "quiet", "link", "good", "bad"):
            assert contrast(rgb(colors[text]), rgb(colors["ground"])) >= 4.5, text
        for hue in ("up", "down"):
            mixed = [
                a + credit_colors.MOST * (b - a) for a, b in zip(rgb(colors["ground"]), rgb(colors[hue]), strict=True)
            ]
            assert contrast(rgb(colors["text"]), mixed) >= 4.5, hue
        for line in range(10):
            assert contrast(rgb(colors[f"line-{line}"]), rgb(colors["ground"])) >= 3, f"line-{line}"


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_the_pages_and_takes_old_ones_away(tmp_path, capsys):
    results, out = records_folder(tmp_path), tmp_path / "report"
    words = [f"results={results}", f"out={out}", "examples=0", f"runs={tmp_path}"]
    assert command_of("report")(words) == 0
    assert (out / "index.html").as_uri() in capsys.readouterr().out
    (out / "rules" / "gone.html").write_text("of a rule that is gone")
    (out / "mine.html").write_text("of somebody else")
    assert command_of("report")(words) == 0
    assert not (out / "rules" / "gone.html").exists() and (out / "mine.html").exists()
    assert "No answers are kept" in (out / "credit.html").read_text("utf-8")


def test_a_folder_of_other_files_is_left_alone(tmp_path, capsys):
    results, out = records_folder(tmp_path), tmp_path / "site"
    out.mkdir()
    (out / "index.html").write_text("<h1>mine</h1>")
    assert command_of("report")([f"results={results}", f"out={out}", "examples=0"]) == 2
    assert "a folder of other files" in capsys.readouterr().err
    assert (out / "index.html").read_text() == "<h1>mine</h1>"


def test_without_records_it_says_so_and_without_measurements_the_pages_are_there(tmp_path, capsys):
    assert command_of("report")([f"results={tmp_path / 'none'}", f"out={tmp_path / 'out'}"]) == 2
    assert "no folder of records" in capsys.readouterr().err
    (tmp_path / "results").mkdir()
    sources = read_sources(str(tmp_path / "results"))
    assert sources.runs == () and sources.credit == ()
