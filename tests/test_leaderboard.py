import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from records import a_record, a_training, an_evaluation

from credit_zoo.cli import parse
from credit_zoo.errors import UsageError
from credit_zoo.experiment.config import resolve, settings_of
from credit_zoo.experiment.setting_roles import deciding
from credit_zoo.leaderboard import reported_page, sections
from credit_zoo.leaderboard import site as pages
from credit_zoo.leaderboard import tables as tables
from credit_zoo.leaderboard.__main__ import main as command
from credit_zoo.registry import SHAPERS
from credit_zoo.results import stats, store
from credit_zoo.results.provenance import Origin
from credit_zoo.results.record import Beside, Decoding, Model, Piece, TrainingSource
from credit_zoo.results.store import write

RULES = {"pepo": ("Tokens that look.", "arXiv:0"), "uniform": ("Every token alike.", "arXiv:1")}


def scores(level, seed, questions=40):
    """Scores around a level; what makes a question hard is the same for every seed and rule."""
    hard = np.random.default_rng(0).normal(0, 0.1, questions)
    own = np.random.default_rng(seed + 1).normal(0, 0.02, questions)
    return tuple(float(x) for x in np.clip(level + hard + own, 0, 1))


def runs(rule, level, seeds=(0, 1, 2), **changes):
    return [a_record(rule, seed, evaluations=(an_evaluation(scores(level, seed)),), **changes) for seed in seeds]


def board(*records):
    return tables.table(tables.measurements(records))


def text(*records):
    """The pages of the sections, one after the other."""
    return "\n".join(sections.section_pages(board(*records), RULES).values())


def spent(markdown):
    """The rows of what the runs took."""
    count = markdown.count("| --- | --- |\n")
    return [row for index in range(count) for row in cells(markdown, index) if "ESS" in row]


def cells(markdown, table=0):
    """The rows of one of a page's tables, by column."""
    header, *rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)[table].splitlines()
    ]
    return [dict(zip(header, row, strict=True)) for row in rows[1:]]


def rankings(markdown):
    """The tables of measurements: those with a rank."""
    count = markdown.count("| --- | --- |\n")
    return [rows for rows in (cells(markdown, index) for index in range(count)) if "rank" in rows[0]]


def full(record):
    """The record as one that is no trial."""
    training = record.training and replace(record.training, steps=tables.TABLE_STEPS)
    asked = tuple(an_evaluation((*found.correctness, *found.correctness)[:40]) for found in record.evaluations[-1:])
    return replace(record, training=training, evaluations=asked)


def lay_out(folder, records):
    for record in records:
        write(full(record), folder / "results")
    return ["--results", str(folder / "results")]


def test_rules_are_ranked_by_their_mean_and_compared_with_uniform():
    markdown = text(*runs("uniform", 0.5), *runs("pepo", 0.6), *runs("bad", 0.4))
    pepo, uniform, bad = cells(markdown)
    assert [row["rank"] for row in (pepo, uniform, bad)] == ["1", "2", "3"]
    assert [row["shaper"] for row in (pepo, uniform, bad)] == ["pepo (alpha=0.05)", "uniform", "bad (alpha=0.05)"]
    assert uniform["vs uniform"] == "reference"
    value, low, high = map(float, re.findall(r"[-+][\d.]+", pepo["vs uniform"]))
    assert value == pytest.approx(10, abs=1e-6) and low <= 10 <= high
    assert float(pepo["accuracy avg@2"]) == pytest.approx(float(uniform["accuracy avg@2"]) + 10, abs=0.011)
    assert pepo["seeds"] == "0, 1, 2" and pepo["base"] == "grpo"
    assert [row["commit"] for row in spent(markdown)] == ["0123456"] * 3
    assert float(re.findall(r"[-+][\d.]+", bad["vs uniform"])[2]) < 0


def test_the_mean_is_of_the_records():
    found = [[0.0, 0.5], [1.0, 0.5], [0.25, 0.0]]
    records = [a_record(seed=seed, evaluations=(an_evaluation(each),)) for seed, each in enumerate(found)]
    assert cells(text(*records))[0]["accuracy avg@2"] == "37.50"


def test_the_same_records_give_the_same_bytes_in_any_order():
    records = [*runs("uniform", 0.5), *runs("pepo", 0.6), *runs("permuted_pepo", 0.55), *runs("pepo", 0.5, seeds=(5,))]
    records += runs("pepo", 0.5, training=a_training(steps=3)) + runs("uniform", 0.5, model=Model("a", "b", 1))
    records.append(a_record("x", evaluations=(an_evaluation(), an_evaluation(bench="mathvista"))))
    assert text(*records) == text(*reversed(records))


def test_fewer_than_three_seeds_are_below_and_unranked():
    markdown = text(*runs("uniform", 0.5), *runs("pepo", 0.7, seeds=(0, 1)))
    ranked, unranked = cells(markdown, 0), cells(markdown, 1)
    assert [(row["shaper"], row["rank"]) for row in ranked] == [("uniform", "1")]
    assert [(row["shaper"], row["rank"]) for row in unranked] == [("pepo (alpha=0.05)", "")]
    assert "95% interval, questions only" in unranked[0]
    assert "Unranked: fewer than three seeds" in markdown
    assert unranked[0]["vs uniform"].startswith("+20.00") and "(2 common seeds)" in unranked[0]["vs uniform"]


def test_a_difference_over_too_few_common_seeds_has_no_interval():
    markdown = text(*runs("uniform", 0.5, seeds=(0, 7, 8)), *runs("pepo", 0.6, seeds=(0, 1, 2)))
    ((uniform,), (pepo,)) = cells(markdown, 0), cells(markdown, 1)
    assert pepo["vs uniform"] == "+10.00 (1 common seed)" and uniform["rank"] == "1"
    assert pepo["unranked because"] == "fewer than three seeds in common with uniform"


def test_without_uniform_under_the_same_base_there_is_no_difference():
    other = Piece("dapo", {"clip": 0.28})
    markdown = text(*runs("uniform", 0.5), *runs("pepo", 0.6, base=other))
    assert [(row["base"], row["rank"], row["vs uniform"]) for row in cells(markdown)] == [("grpo", "1", "reference")]
    (apart,) = cells(markdown, 1)
    assert (apart["base"], apart["rank"], apart["vs uniform"]) == ("dapo", "", "")
    assert apart["unranked because"] == "no uniform under this base"
    assert "95% interval" in apart, "it has seeds enough for an interval over seeds"


def at_seeds(rule, levels, **changes):
    """Runs with exactly these levels, by seed."""
    return [
        a_record(rule, seed, evaluations=(an_evaluation((level,) * 4),), **changes) for seed, level in levels.items()
    ]


def test_a_rule_that_gains_on_common_seeds_ranks_above_uniform_whatever_the_means():
    """`uniform` has three lucky seeds more; on the seeds of both, the rule is a point better on each."""
    uniform = at_seeds("uniform", {0: 0.4, 1: 0.5, 2: 0.6, 3: 0.9, 4: 0.9, 5: 0.9})
    rows = cells(
        text(*uniform, *at_seeds("pepo", {0: 0.41, 1: 0.51, 2: 0.61}), *at_seeds("bad", {3: 0.8, 4: 0.8, 5: 0.8}))
    )
    assert [(row["rank"], row["shaper"].split()[0]) for row in rows] == [("1", "pepo"), ("2", "uniform"), ("3", "bad")]
    means = [float(row["accuracy avg@2"]) for row in rows]
    assert means == [51, 70, 80], "the order of the means is the opposite"


def test_each_base_is_ranked_against_its_own_uniform():
    other = Piece("dapo", {})
    records = [
        *runs("uniform", 0.3),
        *runs("pepo", 0.2),
        *runs("uniform", 0.6, base=other),
        *runs("pepo", 0.7, base=other),
    ]
    assert [(row["base"], row["rank"], row["shaper"].split()[0]) for row in cells(text(*records))] == [
        ("dapo", "1", "pepo"),
        ("dapo", "2", "uniform"),
        ("grpo", "1", "uniform"),
        ("grpo", "2", "pepo"),
    ]


def test_two_settings_of_uniform_leave_nothing_to_rank_by():
    two = [*runs("uniform", 0.5), *runs("uniform", 0.6, shaper=Piece("uniform", {"x": 1}))]
    rows = cells(text(*two, *runs("pepo", 0.7)))
    assert {row["unranked because"] for row in rows} == {"2 settings of uniform under this base"}
    assert [row["rank"] for row in rows] == [""] * 3 and rows[0]["vs uniform"] == ""


def test_ranks_follow_differences_and_ties_share_one():
    rng = np.random.default_rng(5)
    found = {
        name: {s: rng.integers(1, 9) / 10 for s in map(int, rng.choice(9, 5, replace=False))} for name in "abcdefgh"
    }
    found["tie"] = dict(found["a"])
    uniform = {seed: rng.integers(1, 9) / 10 for seed in range(8)}
    arms = board(*at_seeds("uniform", uniform), *(one for name, at in found.items() for one in at_seeds(name, at)))
    leads = {"uniform": 0.0}
    for name, levels in found.items():
        common = levels.keys() & uniform.keys()
        if len(common) >= 3:
            leads[name] = round(float(np.mean([levels[seed] - uniform[seed] for seed in common])), 9)
    ranks = {arm["shaper"]["name"]: arm["rank"] for arm in arms.to_dict("records") if arm["ranked"]}
    assert ranks == {name: 1 + sum(other > lead for other in leads.values()) for name, lead in leads.items()}
    assert ranks["a"] == ranks["tie"]


def test_bases_of_one_name_are_told_apart_by_what_differs():
    rows = cells(text(*runs("uniform", 0.5), *runs("uniform", 0.6, base=Piece("grpo", {"clip": 0.3}))))
    assert [row["base"] for row in rows] == ["grpo (clip=0.2)", "grpo (clip=0.3)"]


def test_missing_is_blank_and_never_averaged_over():
    lacking = (an_evaluation(scores(0.6, 2), pass_at_n=None),)
    odd = a_record(seed=2, training=a_training(weights=None), evaluations=lacking)
    markdown = text(*runs("pepo", 0.6, seeds=(0, 1)), odd)
    row, took = cells(markdown)[0], spent(markdown)[0]
    assert {row[name] for name in ("before", "pass@2", "vs uniform", "p", "p, Holm")} == {""}
    assert {took[name] for name in ("std W", "ESS", "s a step")} == {""}
    assert row["seeds"] == "0, 1, 2" and took["tokens"] == "4.0"
    markdown = text(*runs("pepo", 0.6))
    assert cells(markdown)[0]["pass@2"] == "75.00"
    assert (spent(markdown)[0]["std W"], spent(markdown)[0]["ESS"]) == ("0.050", "0.990")


def test_before_training_stands_beside_after():
    both = [a_record(seed=seed) for seed in range(3)]
    assert cells(text(*both))[0]["before"] == "25.00"


DIFFERENT_MEASURES = {
    "bench": "mathvista",
    "bench_version": 2,
    "split": "val",
    "twin": False,
    "revision": "twin-2",
    "samples": 8,
    "grader": "g2",
    "prompt": "p2",
    "metric": "iou",
    "question_ids": "q2",
    "decoding": Decoding(1.0, 1.0, 0, 128, 1234),
}


@pytest.mark.parametrize("name", DIFFERENT_MEASURES)
def test_different_measurements_never_share_a_table(name):
    other = an_evaluation(scores(0.9, 0), **{name: DIFFERENT_MEASURES[name]})
    markdown = text(*runs("uniform", 0.5), a_record("pepo", evaluations=(other,)))
    tables = rankings(markdown)
    assert sorted(len(rows) for rows in tables) == [1, 1]
    assert markdown.count("## Measured on") == 2
    assert [row["vs uniform"] for rows in tables for row in rows if row["shaper"] != "uniform"] == [""]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": Model("own/other", "abc", 5)},
        {"contract_version": 2},
        {"training": a_training(steps=3)},
        {"training": a_training(settings={"lr": 1.0})},
        {"training": a_training(source=TrainingSource("geometry3k", 1, "train", False, "real-1", 100))},
    ],
    ids=["model", "contract", "steps", "settings", "source"],
)
def test_different_budgets_never_share_a_section(changes):
    markdown = text(*runs("uniform", 0.5), *runs("pepo", 0.6, **changes))
    assert markdown.count("# Trained on") == 2
    assert [len(rows) for rows in rankings(markdown)] == [1, 1]
    assert [row["vs uniform"] for rows in rankings(markdown) for row in rows if "pepo" in row["shaper"]] == [""]


def test_settings_of_one_rule_are_rows_of_their_own():
    rows = cells(text(*runs("pepo", 0.6), *runs("pepo", 0.5, shaper=Piece("pepo", {"alpha": 0.1}))))
    assert [row["shaper"] for row in rows] == ["pepo (alpha=0.05)", "pepo (alpha=0.1)"]


@pytest.mark.parametrize(
    ("level", "seeds", "verdict"),
    [
        (0.5, (0, 1, 2), "it beats its own shuffle"),
        (0.6, (0, 1, 2), "it has not beaten its own shuffle"),
        (0.7, (0, 1, 2), "it has not beaten its own shuffle"),
        (0.5, (0, 1), "undecided"),
    ],
)
def test_a_rule_is_held_against_its_own_shuffle(level, seeds, verdict):
    shuffled = runs("permuted_pepo", level, seeds, shaper=Piece("permuted_pepo", {"alpha": 0.05, "seed": 0}))
    markdown = text(*runs("uniform", 0.5), *runs("pepo", 0.6), *shuffled)
    (row,) = [
        row for index in range(markdown.count("| --- | --- |\n")) for row in cells(markdown, index) if "verdict" in row
    ]
    assert (row["shaper"], row["base"]) == ("pepo (alpha=0.05)", "grpo")
    assert row["its own shuffle"].startswith("permuted_pepo") and verdict in row["verdict"]


def test_the_shuffle_of_other_settings_is_no_control():
    shuffled = runs("permuted_pepo", 0.5, shaper=Piece("permuted_pepo", {"alpha": 0.9, "seed": 0}))
    assert "own shuffle" not in text(*runs("pepo", 0.6), *shuffled)


def below(markdown, heading):
    """The rows of the tables under a heading."""
    part = re.split(r"^##+ ", markdown.split(f"## {heading}", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return [cells(part, index) for index in range(part.count("| --- | --- |\n"))]


def at(rule, *levels, **changes):
    """Runs with seeds 0, 1, ... and exactly these levels."""
    return [
        a_record(rule, seed, evaluations=(an_evaluation((level,) * 4),), **changes) for seed, level in enumerate(levels)
    ]


def test_the_noise_floor_by_hand():
    alone, paired = below(text(*at("uniform", 0.4, 0.5, 0.6), *at("pepo", 0.5, 0.5, 0.5)), "Noise floor")
    assert alone == [
        {
            "measured on": "geometry3k (twin)",
            "rule": "uniform",
            "base": "grpo",
            "seeds": "3",
            "mean": "50.00",
            "sd": "10.00",
            "95% interval of sd": "[5.21, 62.85]",
            "5 seeds each show [95%]": "20.21 [10.52, 127.00]",
        }
    ]
    assert paired[0]["rule"] == "pepo (alpha=0.05)" and paired[0]["difference"] == "+0.00"
    assert paired[0]["common seeds"] == "3" and paired[0]["sd"] == "10.00"
    assert paired[0]["5 seeds each show [95%]"] == "16.62 [8.65, 104.47]"


def test_a_noise_floor_needs_three_seeds_and_a_pair_three_common_ones():
    assert "## Noise floor" not in text(*at("uniform", 0.4, 0.5), *at("pepo", 0.5, 0.5, 0.6))
    apart = runs("pepo", 0.6, seeds=(1, 2, 3))
    (alone,) = below(text(*runs("uniform", 0.5), *apart), "Noise floor")
    assert [row["rule"] for row in alone] == ["uniform"]
    assert "## Noise floor" not in text(*runs("pepo", 0.6, shaper=None, base=None, training=None))


def test_every_measurement_and_base_has_its_own_noise_floor():
    def both(seed):
        return (an_evaluation(scores(0.5, seed)), an_evaluation(scores(0.5, seed), question_ids="q2"))

    other = Piece("grpo", {"clip": 0.3})
    records = [a_record("uniform", seed, evaluations=both(seed)) for seed in range(3)]
    (alone,) = below(text(*records, *runs("uniform", 0.5, base=other)), "Noise floor")
    assert [(row["measured on"], row["base"]) for row in alone] == [
        ("geometry3k (twin) (question_ids=q1)", "grpo (clip=0.2)"),
        ("geometry3k (twin) (question_ids=q1)", "grpo (clip=0.3)"),
        ("geometry3k (twin) (question_ids=q2)", "grpo (clip=0.2)"),
    ]


def two(rule, firsts, seconds, **changes):
    """Runs measured on two benchmarks, with exactly these levels."""
    return [
        a_record(
            rule,
            seed,
            evaluations=(an_evaluation((one,) * 4), an_evaluation((other,) * 4, bench="mathvista", **changes)),
        )
        for seed, (one, other) in enumerate(zip(firsts, seconds, strict=True))
    ]


def test_the_aggregate_over_benchmarks_by_hand():
    uniform, better = two("uniform", (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)), two("pepo", (0.5, 0.7, 0.7), (0.1, 0.2, 0.3))
    (rows,) = below(text(*uniform, *better), "Over 2 twins, base grpo")
    pepo, reference = rows
    assert (pepo["shaper"], pepo["seeds"], pepo["IQM"]) == ("pepo (alpha=0.05)", "3", "42.50")
    assert pepo["P(better than uniform) [95%]"].startswith(f"{((1 + 0.5 + 6) / 9 + 0.5) / 2:.2f} [")
    assert (reference["IQM"], reference["P(better than uniform) [95%]"]) == ("35.00", "reference")
    low, high = map(float, re.findall(r"[\d.]+", reference["95% interval"]))
    assert low < 35 < high


def test_a_rule_that_lacks_a_benchmark_or_seeds_is_blank_in_the_aggregate():
    uniform = two("uniform", (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    (rows,) = below(text(*uniform, *at("pepo", 0.5, 0.6, 0.7), *two("bad", (0.5, 0.5), (0.1, 0.1))), "Over 2 twins")
    assert [list(row.values())[1:] for row in rows[:2]] == [[""] * 4] * 2
    assert rows[2]["IQM"] == "35.00"


@pytest.mark.parametrize("changes", [{"twin": False}, {"metric": "iou"}])
def test_twins_and_real_benchmarks_and_other_metrics_are_not_aggregated_with_each_other(changes):
    assert "## Over" not in text(*two("uniform", (0.4, 0.5, 0.6), (0.1, 0.2, 0.3), **changes))


def test_runs_that_do_not_overlap_have_an_interval_of_improvement_too():
    records = [*two("uniform", (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)), *two("pepo", (0.7, 0.8, 0.9), (0.4, 0.5, 0.6))]
    (rows,) = below(text(*records), "Over 2 twins")
    assert rows[0]["P(better than uniform) [95%]"] == f"1.00 [{0.05 ** (1 / 3):.2f}, 1.00]"


def test_one_benchmark_has_no_aggregate():
    assert "## Over" not in text(*runs("uniform", 0.5), *runs("pepo", 0.6))


def test_equal_differences_share_a_rank():
    same = [runs(name, 0.5) for name in ("one", "two", "uniform")]
    rows = cells(text(*same[0], *same[1], *same[2], *runs("three", 0.4)))
    assert [row["rank"] for row in rows] == ["1", "1", "1", "4"]


def test_baselines_of_those_who_do_not_look_stand_beside_the_headline():
    beside = Beside(baselines={"majority": 0.25})
    records = [a_record(seed=seed, evaluations=(an_evaluation(beside=beside),)) for seed in range(3)]
    assert "- Beside pepo (alpha=0.05), grpo: baseline majority 25.00." in text(*records)


def test_dirty_runs_and_notes_are_flagged_and_every_commit_is_named():
    other = Origin("fedcba9876543210", dirty=True, packages={})
    (row,) = spent(text(*runs("pepo", 0.6, seeds=(0, 1)), *runs("pepo", 0.6, seeds=(2,), origin=other)))
    assert row["flags"] == "differentiable, dirty"
    assert row["commit"] == "0123456, fedcba9"


def test_a_model_that_was_not_trained_stands_alone_and_unranked():
    bare = runs("pepo", 0.3, shaper=None, base=None, training=None)
    markdown = text(*bare, *runs("uniform", 0.5))
    assert "# own/small, not trained" in markdown
    row = next(row for rows in rankings(markdown) for row in rows if row["shaper"] == "(not trained)")
    assert row["rank"] == "" and row["vs uniform"] == "" and row["base"] == ""


def test_markup_in_names_is_shown_not_obeyed():
    markdown = text(*runs("pepo", 0.6, shaper=Piece("a|b<i>", {"x": "c\nd&"}), notes=("p|q",)))
    (row,) = spent(markdown)
    assert row["shaper"] == "a\\|b&lt;i> (x=c d&amp;)" and row["flags"] == "p\\|q"


def test_rules_on_the_page_are_explained():
    markdown = text(*runs("pepo", 0.6))
    assert "| `pepo` | Tokens that look. | arXiv:0 |" in markdown
    assert "Every token alike." not in markdown


def test_no_records_give_a_page_too(tmp_path):
    assert text() == ""
    (tmp_path / "results").mkdir()
    built = pages.build(tmp_path / "results")
    assert "No runs yet." in built.page and "Nothing is measured yet" in built.page and built.sections == {}


def test_the_console_line_says_before_after_and_where():
    lines = tables.row(a_record()).splitlines()
    assert lines == [
        "pepo (alpha=0.05), base grpo | geometry3k (twin): 25.00 -> 50.00 +- 20.41 (avg@2 accuracy in %, 4 questions)",
        "record: geometry3k/own-small/grpo/pepo/seed0-20260131120000-pepo-0.json",
    ]
    assert (
        tables.row(a_record(), Path("/a/results"))
        .splitlines()[1]
        .startswith("record: /a/results/geometry3k/own-small/")
    )
    untrained = a_record(shaper=None, base=None, training=None, evaluations=(an_evaluation(stage="before"),))
    assert tables.row(untrained).startswith("not trained | geometry3k (twin): 50.00 +- ")


def test_check_fails_until_the_page_is_written_and_after_it_is_changed(tmp_path, capsys):
    words = lay_out(tmp_path, runs("uniform", 0.5))
    out = tmp_path / "results" / "LEADERBOARD.md"
    assert command([*words, "--check"]) == 1
    assert not out.exists()
    assert command(words) == 0
    written = out.read_bytes()
    assert command([*words, "--check"]) == 0
    assert command(words) == 0
    assert out.read_bytes() == written
    lay_out(tmp_path, runs("pepo", 0.6)[:1])
    capsys.readouterr()
    assert command([*words, "--check"]) == 1
    assert "not up to date: run python -m credit_zoo.leaderboard" in capsys.readouterr().err
    assert out.read_bytes() == written


def test_a_corrupt_record_is_named_and_the_others_render(tmp_path, capsys):
    words = lay_out(tmp_path, runs("uniform", 0.5))
    (tmp_path / "results" / "broken.json").write_text('{"schema": 1')
    assert command(words) == 0
    assert "broken.json" in capsys.readouterr().err
    markdown = (tmp_path / "results" / "LEADERBOARD.md").read_text()
    (section,) = (tmp_path / "results" / "sections").iterdir()
    assert cells(section.read_text())[0]["shaper"] == "uniform" and f"sections/{section.name}" in markdown
    assert re.search(r"## Problems\n\nLeft out above:\n\n- broken.json cannot be read", markdown)
    assert command([*words, "--check"]) == 1
    assert "not up to date" not in capsys.readouterr().err


def test_the_page_does_not_depend_on_where_the_folder_lies(tmp_path, monkeypatch):
    for name in ("a", "b"):
        lay_out(tmp_path / name, runs("pepo", 0.5))
        (tmp_path / name / "results" / "broken.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    command(["--results", "a/results"])
    command(["--results", str(tmp_path / "b" / "results")])
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "results").rglob("*.md")} for name in ("a", "b")
    )
    assert first == second and len(first) == 2


def test_a_page_stays_in_its_folder_unless_the_published_numbers_lie_beside_it(tmp_path):
    words = lay_out(tmp_path / "mine", runs("pepo", 0.5))
    assert command(words) == 0
    assert sorted(file.name for file in (tmp_path / "mine").iterdir()) == ["results"]
    words = lay_out(tmp_path / "published", runs("pepo", 0.5))
    (tmp_path / "published" / "reported.csv").write_text(",".join(tables.REPORTED_COLUMNS) + "\n")
    assert command(words) == 0
    assert (tmp_path / "published" / "LEADERBOARD.md").exists()
    assert not (tmp_path / "published" / "results" / "LEADERBOARD.md").exists()


def test_a_folder_that_is_not_there_is_said(tmp_path, capsys):
    """A mistyped folder is no empty table: nothing is written."""
    assert command(["--results", str(tmp_path / "none" / "results")]) == 2
    assert "there is no folder of records" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


STEPS, ASKED = tables.TABLE_STEPS, tables.TABLE_QUESTIONS


@pytest.mark.parametrize(
    ("steps", "asked", "trial"),
    [
        (STEPS - 1, 200, True),
        (STEPS, ASKED - 1, True),
        (STEPS, ASKED, False),
        (None, ASKED - 1, True),
        (None, ASKED, False),
    ],
)
def test_a_smoke_run_gets_no_section_and_is_named_in_one_line(tmp_path, steps, asked, trial):
    changes = {} if steps else {"shaper": None, "base": None, "training": None}
    if steps:
        changes["training"] = a_training(steps=steps)
    write(a_record(evaluations=(an_evaluation((0.5,) * asked),), **changes), tmp_path / "results")
    markdown = pages.build(tmp_path / "results").page
    named = [line for line in markdown.splitlines() if line.startswith("Not shown")]
    assert ("own/small" in markdown, len(named)) == (not trial, int(trial))
    assert all(".json" in line for line in named)


def test_the_scale_smoke_is_a_trial():
    gin = (Path(__file__).parents[1] / "configs" / "scale" / "smoke.gin").read_text()
    steps, asked = (int(re.findall(rf"{name} = (\d+)", gin)[0]) for name in ("train.steps", "eval.questions"))
    assert steps < STEPS and asked < ASKED


def counted(monkeypatch, module, name):
    """Counts a function's calls."""
    calls, inner = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args, **kwargs: calls.append(args) or inner(*args, **kwargs))
    return calls


def many_rules(folder, count):
    """Records of three seeds a rule."""
    for index in range(count):
        rule, seed = divmod(index, 3)
        write(full(runs(f"rule{rule}" if rule else "uniform", 0.5, (seed,))[0]), folder / "results")
    return folder / "results"


def test_the_work_of_a_page_grows_with_its_records_and_no_faster(tmp_path, monkeypatch):
    work = {}
    for count in (12, 120):
        results = many_rules(tmp_path / str(count), count)
        stats._resamples.cache_clear()
        with monkeypatch.context() as patch:
            counts = {
                "decoded": counted(patch, store, "load"),
                "intervals": counted(patch, stats, "interval"),
                "pairs": counted(patch, stats, "paired"),
                "resamples drawn": counted(patch, stats, "_counts"),
            }
            pages.build(results)
            work[count] = {name: len(calls) for name, calls in counts.items()}
    assert (work[12]["decoded"], work[120]["decoded"]) == (12, 120)
    assert (work[12]["pairs"], work[120]["pairs"]) == (3, 39), "one for each rule but `uniform`"
    assert (work[12]["intervals"], work[120]["intervals"]) == (4 + 3, 40 + 39), "one for each rule and each pair"
    assert work[12]["resamples drawn"] == work[120]["resamples drawn"] == 2, "of questions and of seeds, once"


def test_a_record_is_decoded_once_until_its_file_changes(tmp_path, monkeypatch):
    results = many_rules(tmp_path, 6)
    first = pages.build(results).sections
    calls = counted(monkeypatch, store, "load")
    assert pages.build(results).sections == first and calls == []
    changed, *_ = sorted(results.rglob("*.json"))
    content = changed.read_text()
    changed.write_text(content.replace('"seconds": 12.5', '"seconds": 99.5'))
    assert pages.build(results).sections != first
    assert [path for (path,) in calls] == [changed]
    changed.write_text("{}")
    assert any(changed.name in problem for problem in pages.build(results).problems)


def test_the_command_line_runs(tmp_path):
    words = [sys.executable, "-m", "credit_zoo.leaderboard", *lay_out(tmp_path, runs("pepo", 0.6)), "--out"]
    done = subprocess.run([*words, str(tmp_path / "page.md")], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert "pepo (alpha=0.05)" in next((tmp_path / "sections").iterdir()).read_text()
    assert "(sections/geometry3k-own-small-10-steps-" in (tmp_path / "page.md").read_text()


def test_reported_numbers_keep_their_digits_and_their_source():
    frame = tables.reported(Path(__file__).parents[1] / "leaderboard" / "reported.csv")
    assert set(frame["table"]) == {"Table 1", "Table 2", "Table 3"}
    assert all(frame["source"])
    markdown = reported_page.reported_page(frame)
    assert "| PEPO_G | 21.91 | 27.27 | 54.45 | 45.42 | 34.45 |" in markdown
    assert "| PEPO_G | 90.44 | 92.40 | 85.75 | 65.26 |" in markdown
    assert "- base: this row looks copied" in markdown
    assert "- single numbers: no seeds" in markdown


def test_a_reported_cell_that_is_missing_is_blank():
    frame = pd.DataFrame(
        [
            ("P", "T", "m", "x", "one", "acc", "1.0", "s", ""),
            ("P", "T", "m", "x", "two", "acc", "2.0", "s", ""),
            ("P", "T", "m", "y", "two", "acc", "3.0", "s", "n"),
        ],
        columns=list(tables.REPORTED_COLUMNS),
    )
    rows = cells(reported_page.reported_page(frame))
    assert rows[1] == {"method": "y", "one (acc)": "", "two (acc)": "3.0"}


@pytest.mark.parametrize("body", ["P,T,m,x,one,acc,1,,\n", "P,T,m,x,one,acc,1,s,\nP,T,m,x,one,acc,2,s,\n"])
def test_reported_numbers_without_source_or_twice_are_refused(tmp_path, body):
    file = tmp_path / "reported.csv"
    file.write_text(",".join(tables.REPORTED_COLUMNS) + "\n" + body)
    with pytest.raises(UsageError, match=r"reported\.csv"):
        tables.reported(file)
    file.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="columns"):
        tables.reported(file)


def test_a_rule_that_looks_at_a_view_is_compared_with_uniform_whatever_the_view_is():
    settings = a_training().settings
    viewed = replace(a_training(), settings={**settings, "train.view": "no_picture()"})
    gate = [a_record("gate", seed, training=viewed) for seed in range(3)]
    uniform = [a_record("uniform", seed) for seed in range(3)]
    found = tables.table(tables.measurements([*uniform, *gate]))
    assert found["section"].nunique() == 1
    (arm,) = [arm for arm in found.to_dict("records") if arm["shaper"]["name"] == "gate"]
    assert arm["shaper"]["settings"]["view"] == "no_picture()" and len(arm["difference"].seeds) == 3


RANKED = sorted(name for name in SHAPERS.listings() if name != "uniform" and not SHAPERS.is_control(name))


def as_recorded(rule):
    """A rule as a record of its run tells it: its settings, and what it is shown in the picture's place."""
    command = parse([f"shaper={rule}", "bench=geometry3k"])
    config = resolve(command)
    settings = {**settings_of(config.shaper), "shaper_schedule": config.train.shaper_schedule}
    return Piece(command.shaper, settings), a_training(settings=deciding(config, "train"))


@pytest.mark.parametrize("rule", RANKED)
def test_every_rule_is_held_against_its_own_shuffle_whatever_its_settings(rule):
    pieces = [as_recorded("uniform"), as_recorded(rule), as_recorded(f"permuted:{rule}")]
    changed = Piece(rule, {**pieces[1][0].settings, "more": 1.0}), pieces[1][1]
    runs = [
        a_record(shaper=piece, training=training, seed=seed)
        for piece, training in [*pieces, changed]
        for seed in range(3)
    ]
    arms = [arm for arm in tables.table(tables.measurements(runs)).to_dict("records") if arm["shaper"]["name"] == rule]
    assert sorted(("more" in arm["shaper"]["settings"], len(arm["shuffles"])) for arm in arms) == [
        (False, 1),
        (True, 0),
    ]
