"""The pictures show what was found, mix nothing, and can be read at the width that the README gives them."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from records import a_record, a_training

from credit_zoo.curves import main as command
from credit_zoo.lab import credit_colors
from credit_zoo.lab import token_heatmap as token_picture
from credit_zoo.leaderboard import curves
from credit_zoo.results.record import Piece, TrainingSource
from credit_zoo.results.store import load_all, write


def trained(accuracies, **changes):
    curve = tuple({"step": step, "accuracy": value} for step, value in enumerate(accuracies, 1))
    return a_training(steps=len(accuracies), curve=curve, **changes)


def test_a_curve_is_the_mean_of_the_last_ten_steps_once_there_are_ten():
    found = curves.smoothed(trained([0.0] * 5 + [1.0] * 10))
    assert found == pytest.approx({10: 0.5, 11: 0.6, 12: 0.7, 13: 0.8, 14: 0.9, 15: 1.0})


def test_steps_that_were_not_logged_are_not_made_up():
    sparse = a_training(steps=20, curve=tuple({"step": step, "accuracy": step / 20} for step in (1, 5, 10, 20)))
    assert curves.smoothed(sparse) == pytest.approx({10: (1 + 5 + 10) / 60, 20: 1.0})
    assert curves.smoothed(a_training()) == {}


def test_a_line_holds_the_seeds_of_one_rule_and_uniform_comes_first():
    records = [a_record("pepo", seed, training=trained([0.1 * seed] * 12)) for seed in range(3)]
    (panel,) = curves.panels([*records, a_record("uniform", training=trained([0.5] * 12))])
    assert panel.title == "trained on geometry3k (twin), 12 steps, from own/small, grpo"
    assert [line.name for line in panel.lines] == ["uniform (1 seed)", "pepo (3 seeds)"]
    assert [line.reference for line in panel.lines] == [True, False]
    assert panel.lines[1].steps.tolist() == [10, 11, 12]
    np.testing.assert_allclose(panel.lines[1].percent, [[0] * 3, [10] * 3, [20] * 3], atol=1e-9)


def test_settings_of_one_rule_are_lines_of_their_own_and_bases_panels():
    done = trained([0.5] * 12)
    other = Piece("pepo", {"alpha": 0.1})
    dapo = Piece("dapo", {})
    records = [
        a_record(training=done),
        a_record(training=done, shaper=other),
        a_record(training=done, base=dapo),
        a_record(training=done, shaper=other, base=dapo),
    ]
    found = curves.panels(records)
    assert [panel.title.split(", ", 2)[2] for panel in found] == ["from own/small, dapo", "from own/small, grpo"]
    names = ["pepo (alpha=0.05) (1 seed)", "pepo (alpha=0.1) (1 seed)"]
    assert all([line.name for line in panel.lines] == names for panel in found)


def test_a_setup_of_one_rule_is_shown_only_where_nothing_is_compared():
    short, long = trained([0.5] * 12), trained([0.5] * 14)
    alone = [a_record("uniform", seed, training=long) for seed in range(2)]
    (panel,) = curves.panels(alone)
    assert "14 steps" in panel.title
    (panel,) = curves.panels([*alone, a_record("uniform", training=short), a_record("pepo", training=short)])
    assert "12 steps" in panel.title and len(panel.lines) == 2


def test_of_many_rules_the_highest_and_the_lowest_are_named():
    ends = {f"rule{chr(97 + place)}": place / 20 for place in range(20)} | {"uniform": 0.5}
    (panel,) = curves.panels([a_record(rule, training=trained([end] * 12)) for rule, end in ends.items()])
    letters = "abcd" + "qrst"
    assert [line.name.split()[0] for line in curves.named(panel)] == ["uniform", *(f"rule{one}" for one in letters)]
    (few,) = curves.panels([a_record(rule, training=trained([0.5] * 12)) for rule in ("uniform", "rulea", "ruleb")])
    assert curves.named(few) == few.lines


def test_different_setups_never_share_a_panel():
    other = TrainingSource("mathvista", 1, "train", twin=True, revision="twin-1", rows=100)
    trainings = [trained([0.5] * 12), trained([0.5] * 12, source=other), trained([0.5] * 12, settings={"lr": 1.0})]
    found = curves.panels([a_record(training=training) for training in trainings])
    assert [panel.title.split(" steps")[0] for panel in found] == [
        "trained on geometry3k (twin), 12",
        "trained on geometry3k (twin), 12",
        "trained on mathvista (twin), 12",
    ]
    assert len({panel.title for panel in found}) == 3
    assert all(len(panel.lines) == 1 for panel in found)


def test_runs_without_training_or_accuracy_are_not_drawn(tmp_path, capsys):
    assert curves.panels([a_record(), a_record(shaper=None, base=None, training=None)]) == []
    write(a_record(), tmp_path / "results")
    assert command(["--results", str(tmp_path / "results")]) == 2
    assert "no record" in capsys.readouterr().err
    assert not (tmp_path / "curves.png").exists()


def test_the_picture_is_drawn_beside_the_records(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    for rule in ("uniform", "pepo"):
        write(a_record(rule, training=trained([0.5] * 12)), tmp_path / "results")
    (tmp_path / "results" / "broken.json").write_text("{}")
    assert command(["--results", str(tmp_path / "results")]) == 0
    assert (tmp_path / "results" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "broken.json" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 3])
def test_the_picture_is_800_pixels_wide_and_no_legend_lies_over_lines_or_is_cut(tmp_path, monkeypatch, count):
    figure = pytest.importorskip("matplotlib.figure").Figure
    drawn, write_file = [], figure.savefig

    def keep(self, *told, **more):
        write_file(self, *told, **more)
        drawn.append(self)

    monkeypatch.setattr(figure, "savefig", keep)
    records = [
        a_record(shaper=Piece(rule, {}), training=trained([0.5] * 12, settings={"lr": 1.0 + index}))
        for index in range(count)
        for rule in ("uniform", "permuted(optimal_baseline)")
    ]
    curves.draw(curves.panels(records), tmp_path / "curves.png")
    (made,) = drawn
    width, height = made.get_size_inches() * made.dpi
    assert width == 800 and height <= 400 * count
    panels = [axes for axes in made.axes if axes.lines]
    legends = [axes.get_legend() for axes in made.axes if axes.get_legend() is not None]
    assert len(panels) == len(legends) == count
    for axes, legend in zip(panels, legends, strict=True):
        place, beside = axes.get_window_extent(), legend.get_window_extent()
        assert place.width > 400, "room for the lines"
        assert place.x1 < beside.x0 and beside.x1 <= width
    sizes = [text.get_fontsize() for axes in panels for text in (axes.title, axes.xaxis.label, *axes.get_xticklabels())]
    assert min(sizes) * made.dpi / 72 >= 14, "pixels"


# --- what the README says of the pictures ------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]


def alt_text(picture):
    written = "\n".join(path.read_text("utf-8") for path in (ROOT / "README.md", ROOT / "docs" / "laboratory.md"))
    (text,) = re.findall(rf"!\[([^\]]*)\]\((?:[^)]*/)?leaderboard/{picture}\)", written)
    return text


def test_the_alt_text_names_every_panel_of_the_curves():
    text = alt_text("curves.png")
    for panel in curves.panels(load_all(ROOT / "leaderboard" / "results")[0]):
        bench, steps = re.findall(r"trained on (\w+) \(\w+\), (\d+) steps", panel.title)[0]
        assert bench in text and steps in text


def test_the_alt_text_names_every_rule_of_the_tokens():
    assert all(name in alt_text("tokens.png") for name in token_picture.Show().shaper.split(","))


# --- tokens ------------------------------------------------------------------------------------------------------


def test_one_scale_of_colour_for_every_rule():
    color = credit_colors.color
    assert color(1.0) == (255, 255, 255)
    for away in (0.02, 0.1, 0.5, 1.0):
        (red, _, blue), (less_red, _, more_blue) = color(1 + away), color(1 - away)
        assert red > blue and more_blue > less_red, "orange above 1, blue below"
        assert credit_colors.strength(away) == credit_colors.strength(-away) == pytest.approx(away**0.5)
    fades = [color(weight)[2] for weight in (1.0, 1.05, 1.1, 1.5, 2.0)]
    assert fades == sorted(set(fades), reverse=True), "farther from 1 is stronger"
    assert color(1.05)[2] <= 220, "PEPO's weights are seen"
    assert color(2.0) == color(7.0) and color(0.0) == color(-1.0)


def luminance(color):
    """The relative luminance of sRGB, as the Web Content Accessibility Guidelines define it."""
    parts = [part / 255 / 12.92 if part / 255 <= 0.03928 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in color]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_black_text_can_be_read_on_every_colour():
    for weight in (0.0, 0.5, 1.0, 1.5, 2.0):
        assert (luminance(credit_colors.color(weight)) + 0.05) / 0.05 >= 4.5, weight


def pixels(*weights_of_rules):
    """How many pixels of each colour a picture has, of rules that weigh one token each."""
    weights = {f"rule {index}": torch.tensor([weight]) for index, weight in enumerate(weights_of_rules)}
    page = token_picture.draw(token_picture.Answer(Image.new("RGB", (8, 8)), "question " * 9, ("ab",), weights))
    assert page.width <= 960
    return {color: count for count, color in page.getcolors(page.width * page.height)}


def test_the_picture_of_tokens_has_a_key_and_colours_equal_weights_alike():
    color = credit_colors.color(1.5)
    key, once, with_far, twice = pixels(1.0), pixels(1.5), pixels(1.5, 9.0), pixels(1.5, 1.5)
    assert {credit_colors.color(weight) for weight in token_picture.KEY} <= key.keys()
    assert once[color] == with_far[color], "whatever the farthest weight of any rule"
    assert twice[color] - key[color] == 2 * (once[color] - key[color]) > 0


def test_without_matplotlib_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write(a_record(training=trained([0.5] * 12)), tmp_path / "results")
    assert command(["--results", str(tmp_path / "results")]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


def test_the_command_line_has_help():
    done = subprocess.run([sys.executable, "-m", "credit_zoo.curves", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "results=none" in done.stdout
