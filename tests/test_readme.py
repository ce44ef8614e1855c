"""The README keeps its word: its shaper passes the contract, its blocks are generated, its names exist."""

import json
import re
from pathlib import Path

import pytest

from credit_zoo.errors import UsageError
from credit_zoo.lab import token_heatmap as show
from credit_zoo.leaderboard.readme import fill, fill_pages, warm_start_block
from credit_zoo.policy import SHIPPED
from credit_zoo.show import main as command
from credit_zoo.testing.contract import check_shaper

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
README = PAGES["README.md"]


def test_the_shaper_of_the_readme_passes_the_contract(tmp_path, own_registrations):
    blocks = re.findall(r"```python\n(.*?)```", PAGES["rules.md"], re.DOTALL)
    (code,) = [block for block in blocks if "SHAPERS.register" in block]
    file = tmp_path / "mine.py"
    file.write_text(code, encoding="utf-8")
    own_registrations.add_plugin(file)
    check_shaper("mine")
    body = code.split('"""', 2)[2]
    assert len([line for line in body.splitlines() if line.strip() and not line.startswith(("from", "import"))]) <= 15


def test_every_setting_named_in_a_command_of_the_readme_exists():
    from credit_zoo.cli.arguments import parse

    for words in re.findall(r"python -m credit_zoo\.run ([^`\n#]+)", "\n".join(PAGES.values())):
        chosen = [w for w in words.split() if "=" in w and not w.startswith(("AXIS", "THING", "plugins", "data"))]
        typed = [w for w in chosen if w != "shaper=mine" and not w.partition("=")[2].isupper()]  # NAME stands for any
        assert parse(typed), words


def test_blocks_are_filled_between_their_marks_and_nothing_else_changes():
    text = "a\n<!-- one -->\nold\n<!-- /one -->\nb\n"
    assert fill(text, {"one": "new \\1\n"}) == "a\n<!-- one -->\nnew \\1\n<!-- /one -->\nb\n"
    assert fill(fill(text, {"one": "x\n"}), {"one": "old\n"}) == text
    with pytest.raises(UsageError, match="no place for 'two'"):
        fill(text, {"two": ""})


def test_a_block_stands_on_one_page_once():
    mark = "<!-- one -->\nold\n<!-- /one -->\n"
    pages = {Path("README.md"): "no block", Path("docs/a.md"): mark}
    assert fill_pages(pages, {"one": "new\n"}) == {Path("docs/a.md"): mark.replace("old", "new")}
    with pytest.raises(UsageError, match="'two' stands on none of the pages"):
        fill_pages(pages, {"two": ""})
    with pytest.raises(UsageError, match=r"'one' stands on README\.md and a\.md"):
        fill_pages({**pages, Path("README.md"): mark}, {"one": ""})


def test_every_policy_that_ships_says_what_it_could_do_before_reinforcement(tmp_path):
    block = warm_start_block([folder / "warm_start.json" for folder in SHIPPED.values()])
    assert {line.split(" | ")[0].strip("| ") for line in block.splitlines()[2:]} == set(SHIPPED)
    made = {
        "settings": {"steps": 3, "batch": 2},
        "test_questions": 7,
        "accuracy_percent": {"puzzles": {"greedy": 12.5}},
    }
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "warm_start.json").write_text(json.dumps(made))
    last = warm_start_block([tmp_path / "mine" / "warm_start.json"]).splitlines()[-1]
    assert last == "| mine | puzzles | 12.5 | nothing | 3 of 2 | 7 |"


def test_the_first_screen_is_one_screen():
    first = README.split("\n## ", 1)[0].splitlines()
    assert len(first) <= 40


def test_every_page_that_a_page_links_to_is_there():
    for name, text in PAGES.items():
        folder = ROOT if name == "README.md" else ROOT / "docs"
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            assert (folder / target).exists(), f"{name}: {target}"


def test_the_picture_of_weights_is_drawn_and_uniform_weighs_everything_one(tmp_path):
    out = tmp_path / "tokens.png"
    assert command(["shaper=uniform,pepo,high_entropy", "prompts=2", f"out={out}"]) == 0
    found = show.answer(show.Show(shaper="uniform,pepo", prompts=1))
    assert found.weights["uniform"].eq(1).all()
    assert float(found.weights["pepo"].mean()) == pytest.approx(1, abs=1e-5)
    assert "".join(found.tokens).startswith("<think>")
    assert out.read_bytes().startswith(b"\x89PNG")


def test_an_unknown_rule_is_answered_with_the_nearest(capsys):
    assert command(["shaper=peppo"]) == 2
    assert "Did you mean 'pepo'?" in capsys.readouterr().err
