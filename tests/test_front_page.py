"""The front page says what the records say: the answer in words, the matrix, the costs; nothing is mixed or lost."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from records import a_credit_record, a_record, a_training, an_evaluation, estimate

from credit_zoo.credit.forest import drawn
from credit_zoo.credit.record import load_all, save
from credit_zoo.credit.verdicts import judged
from credit_zoo.errors import UsageError
from credit_zoo.leaderboard import site
from credit_zoo.leaderboard.answer import answer, listed, short_answer
from credit_zoo.leaderboard.export import CREDIT, RUNS
from credit_zoo.leaderboard.front_page import Contents, front_page
from credit_zoo.leaderboard.instrument_tables import instrument_summary, instrument_tables
from credit_zoo.leaderboard.matrix import matrices
from credit_zoo.leaderboard.rule_costs import rule_costs
from credit_zoo.leaderboard.tables import measurements, table
from credit_zoo.leaderboard.verdicts import mark
from credit_zoo.results.comparisons import Difference, p_text
from credit_zoo.results.record import Model, Piece
from credit_zoo.results.store import write

SEEDS = range(8)
QUESTIONS = 40


def scores(level, seed, rule):
    """Scores around a level: questions differ, and runs a little."""
    rng = np.random.default_rng([seed, *map(ord, rule)])
    hard = np.random.default_rng(0).normal(0, 0.1, QUESTIONS)
    return tuple(float(x) for x in np.clip(level + hard + rng.normal(0, 0.01) + rng.normal(0, 0.01, QUESTIONS), 0, 1))


def runs(rule, level, seeds=SEEDS, **changes):
    return [a_record(rule, seed, evaluations=(an_evaluation(scores(level, seed, rule)),), **changes) for seed in seeds]


def board(*records):
    return table(measurements(records))


def shuffled(rule, level, **changes):
    return runs("permuted_" + rule, level, shaper=Piece("permuted_" + rule, {"alpha": 0.05, "seed": 0}), **changes)


# --- the answer --------------------------------------------------------------------------------------------------


def test_without_records_it_says_that_nothing_is_measured():
    assert "Nothing is measured yet" in answer(board(), [])


def test_a_rule_that_gains_is_named_with_its_interval_and_where():
    text = answer(board(*runs("uniform", 0.5), *runs("better", 0.6), *runs("same", 0.5)), [])
    assert (
        "After training, **better** (in 1 of 1 table) is told above `uniform` (2 rules, 2 comparisons in 1 table, 8 paired seeds each"
        in text
    )
    assert (
        "After 2 steps on geometry3k (twin) from `own/small` under grpo (of 2 rules), above `uniform`: better" in text
    )
    value, low, high = map(
        float, re.search(r"better \((\S+) \[(\S+), (\S+)\], 8 seeds, own shuffle not run", text).groups()
    )
    assert low < 10 < high and value == pytest.approx(10, abs=2)
    assert "same (" not in text


def test_tables_of_one_place_are_told_apart_by_their_settings():
    """One that tells a rule and one that does not must not read as if they spoke of the same runs."""
    more = a_training(settings={**a_training().settings, "train.updates": 4})
    other = [*runs("uniform", 0.5, training=more), *runs("better", 0.5, training=more)]
    text = answer(board(*runs("uniform", 0.5), *runs("better", 0.6), *other), [])
    (told,) = [line for line in text.splitlines() if "above `uniform`: better" in line]
    (quiet,) = [line for line in text.splitlines() if line.startswith("- No rule is told")]
    assert "train.updates=4" in quiet and "train.updates=4" not in told


def test_when_none_is_told_it_says_so_and_how_many_were_compared():
    text = answer(board(*runs("uniform", 0.5), *runs("one", 0.5), *runs("two", 0.5, seeds=range(3))), [])
    assert (
        "**No rule is told from `uniform` after training** (2 rules, 2 comparisons in 1 table, 3 to 8 paired seeds each"
        in text
    )


def test_what_the_plain_intervals_tell_is_counted_by_side():
    """Of two rules that only their own intervals tell, one is below: a reader must not take both for better."""
    rules = [one for number in range(20) for one in runs(f"null{chr(97 + number)}", 0.5)]
    near = [run for seed in SEEDS for run in runs("near", 0.5 + 0.016 * (seed % 2), seeds=(seed,))]
    under = [run for seed in SEEDS for run in runs("under", 0.5 - 0.016 * (seed % 2), seeds=(seed,))]
    found = board(*runs("uniform", 0.5), *rules, *near, *under).to_dict("records")
    plain = [arm["from_uniform"].plain for arm in found if arm["from_uniform"] and not arm["from_uniform"].told]
    text = answer(board(*runs("uniform", 0.5), *rules, *near, *under), [])
    assert f"by the plain interval alone {plain.count(1)} more above and {plain.count(-1)} below" in text


def test_of_rules_told_above_the_one_of_most_tables_leads_and_says_where_it_is_not():
    longer = a_training(steps=9)
    other = an_evaluation(scores(0.5, 0, "elsewhere"), bench="refcoco")
    same = [
        replace(run, evaluations=(*run.evaluations, other)) for rule in ("uniform", "best") for run in runs(rule, 0.5)
    ]
    best = [replace(run, evaluations=(runs("best", 0.6)[at].evaluations[0], other)) for at, run in enumerate(same[8:])]
    again = [*runs("uniform", 0.5, training=longer), *runs("best", 0.6, training=longer)]
    text = answer(board(*same[:8], *best, *again, *runs("aaa", 0.6)), [])
    assert "After training, **best** (in 2 of 3 tables; not on refcoco) and **aaa** (in 1 of 1 table) are told" in text


def test_whether_a_rule_is_told_from_its_own_shuffle_is_said():
    found = board(*runs("uniform", 0.5), *runs("pepo", 0.6), *shuffled("pepo", 0.5))
    assert "8 seeds, told from its own shuffle" in answer(found, [])
    same = [
        replace(one, evaluations=own.evaluations)
        for one, own in zip(shuffled("pepo", 0), runs("pepo", 0.6), strict=True)
    ]
    found = board(*runs("uniform", 0.5), *runs("pepo", 0.6), *same)
    assert "8 seeds, not told from its own shuffle" in answer(found, [])


def test_the_first_screen_says_what_is_above_and_leaves_the_rest_to_the_page():
    found, credit = board(*runs("uniform", 0.5), *runs("better", 0.6), *runs("worse", 0.4)), [a_credit_record()]
    short, whole = short_answer(found, credit), answer(found, credit)
    assert short.startswith(
        "**The answer so far.** After training, **better** (in 1 of 1 table) is told above `uniform`"
    )
    assert "The instrument (" in short and "worse" not in short
    assert whole.startswith(short), "a reader of both reads the same words first"
    (line,) = [line for line in whole.splitlines() if "worse" in line]
    assert line.startswith("- After 2 steps on geometry3k (twin)")
    assert short_answer(board(), []) == answer(board(), [])  # nothing is measured yet


def test_a_control_never_answers_which_rule_and_is_told_as_one():
    text = answer(board(*runs("uniform", 0.5), *runs("same", 0.5), *runs("oracle_exact", 0.7)), [])
    assert "**No rule is told from `uniform` after training** (1 rule" in text
    assert "Controls are told there: oracle_exact (+" in text


def test_one_interval_among_many_rules_is_a_hint_and_no_more():
    """Twenty rules, one of which misses 0 barely: its own interval tells it, the adjusted p does not."""
    rules = [one for number in range(20) for one in runs(f"null{chr(97 + number)}", 0.5)]
    near = [run for seed in SEEDS for run in runs("near", 0.5 + 0.016 * (seed % 2), seeds=(seed,))]
    found = board(*runs("uniform", 0.5), *rules, *near)
    (arm,) = [one for one in found.to_dict("records") if one["shaper"]["name"] == "near"]
    told = arm["from_uniform"]
    assert told.adjusted == pytest.approx(min(1.0, 21 * told.p), rel=1e-6) or told.adjusted >= told.p
    assert "**No rule is told" in answer(found, [])


def test_the_instrument_speaks_for_every_policy_and_twin():
    better = replace(a_credit_record().rules[1], name="siblings", numbers={"efficiency": estimate(1.4, 0.1)})
    shuffle = replace(better, name="permuted(siblings)", control=True)
    over = replace(better, numbers={"efficiency": estimate(1.4, 0.1), "over_shuffle": estimate(1.3, 0.1)})
    record = a_credit_record(note="warm start", rules=(*a_credit_record().rules, over, shuffle))
    text = answer(board(), [record])
    assert "1 measurement of policies, twins and sizes of groups, 2 rules) tells above `uniform` siblings" in text
    assert "siblings (1 of 1; 1.40)." in text
    assert "have its own shuffle, so many tell it above that too: siblings (1 of 1)." in text
    higher = replace(over, numbers={**over.numbers, "efficiency": estimate(1.6, 0.1)})
    two = answer(board(), [record, replace(record, rules=(*a_credit_record().rules, higher, shuffle))])
    assert "siblings (2 of 2; 1.40 to 1.60)" in two
    text = answer(board(), [replace(record, rules=(*a_credit_record().rules, better, shuffle))])
    assert "own shuffle" not in text, "it was not measured"
    assert "tells no rule above `uniform`" in answer(board(), [a_credit_record()])
    blind = replace(record.rules[0], numbers={**record.rules[0].numbers, "snr": estimate(0.0, 0.1)})
    unseen = answer(board(), [replace(record, rules=(blind, *record.rules[1:]))])
    assert "At `geometry3k, warm start, G 8` it sees nothing" in unseen and "siblings" not in unseen


def test_both_are_held_together_only_from_the_same_weights():
    over = replace(a_credit_record().rules[1], name="better", numbers={"efficiency": estimate(1.4, 0.1)})
    record = a_credit_record(rules=(a_credit_record().rules[0], over), weights="abc123")
    found = board(*runs("uniform", 0.5), *runs("better", 0.6))
    assert "Told above it by training and by the instrument, from the same weights: better." in answer(found, [record])
    assert "by the instrument, from the same weights" not in answer(found, [replace(record, weights="other")])
    assert "from the same weights: no rule." in answer(board(*runs("uniform", 0.5), *runs("better", 0.5)), [record])


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (list("abcdefg"), "a, b, c, d and 3 more"),
    ],
)
def test_a_list_in_a_sentence(items, text):
    assert listed(items) == text


# --- the instrument's verdicts -----------------------------------------------------------------------------------


def test_rules_and_controls_of_the_instrument_are_families_apart_and_shuffles_in_none():
    found = judged(a_credit_record())
    assert set(found) == {"entropy", "oracle_exact"}
    assert found["entropy"].uniform.p == found["entropy"].uniform.adjusted, "alone in its family"
    assert found["oracle_exact"].uniform.told == 1


def test_the_tables_of_the_instrument_have_training_beside_it_from_the_same_weights_alone():
    record = a_credit_record(weights="abc123")
    found = board(*runs("uniform", 0.5), *runs("entropy", 0.6))
    text = instrument_tables([record], found)
    (row,) = [line for line in text.splitlines() if line.startswith("| entropy") and line.count("|") == 10]
    assert re.search(r"\| \+(9|10)\.\d\d \[.*\] \u25b2 \|$", row)
    text = instrument_tables([replace(record, weights="other")], found)
    (row,) = [line for line in text.splitlines() if line.startswith("| entropy") and line.count("|") == 10]
    assert row.endswith("|  |")


def test_the_summary_has_a_row_a_rule_with_what_is_told_how_often():
    """Three measurements: above, below and blind; where `uniform` itself is not seen nothing counts."""

    def measured(value, half, snr=None):
        base, *_ = a_credit_record().rules
        base = replace(base, numbers={**base.numbers, "snr": snr}) if snr else base
        numbers = {"efficiency": estimate(value, half), "over_shuffle": estimate(1.3, 0.1)}
        one = replace(base, name="siblings", numbers=numbers)
        shuffle = replace(one, name="permuted(siblings)", control=True)
        oracle = replace(one, name="oracle_exact", control=True, numbers={"efficiency": estimate(2.0, 0.1)})
        return a_credit_record(rules=(base, one, shuffle, oracle))

    records = [measured(1.5, 0.1), measured(0.5, 0.1), measured(9.0, 0.1, snr=estimate(0.0, 0.1))]
    header, _, *told = rows(instrument_summary(records))
    assert header[:4] == ["rule", "measurements", "told above", "told below"]
    assert told == [
        ["siblings", "2", "1", "1", "0.50", "1.00", "1.50", "2 of 2"],
        ["oracle_exact (control)", "2", "2", "", "2.00", "2.00", "2.00", ""],
    ]
    assert "No measurements yet" in instrument_summary([])


# --- the matrix --------------------------------------------------------------------------------------------------


def rows(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]


def test_a_column_of_too_few_seeds_waits_until_nothing_else_is_there():
    few = runs("uniform", 0.5, range(2)) + runs("pepo", 0.6, range(2))
    assert any(row[0] == "pepo" for row in rows(matrices(board(*few)))), "a newcomer's two seeds"
    longer = a_training(steps=9)
    many = [one for rule in ("uniform", "siblings") for one in runs(rule, 0.5, training=longer)]
    names = {row[0] for row in rows(matrices(board(*few, *many)))}
    assert "siblings" in names and "pepo" not in names


def test_a_cell_says_its_seeds_where_most_rules_have_others():
    many = [one for rule, level in (("uniform", 0.5), ("more", 0.6)) for one in runs(rule, level, range(8))]
    usual = [one for rule in ("one", "two", "three") for one in runs(rule, 0.5, range(4))]
    header, _, uniform, *rest = rows(matrices(board(*many, *usual, *runs("few", 0.5, range(3)))))
    assert header[1] == "geometry3k (twin), 2 steps, 4 seeds, 5 compared"
    assert uniform[1].endswith("(8 seeds)")
    told = {name: re.findall(r"\((\d) seeds\)", cell) for name, cell in rest}
    assert told == {"more": ["8"], "one": [], "two": [], "three": [], "few": ["3"]}


def test_the_matrix_has_a_column_a_benchmark_and_marks_what_is_told():
    def both(rule, level, other):
        found = []
        for seed in SEEDS:
            first, second = scores(level, seed, rule), scores(other, seed, rule)
            asked = (an_evaluation(first), an_evaluation(second, bench="mathvista"))
            found.append(a_record(rule, seed, evaluations=asked))
        return found

    text = matrices(board(*both("uniform", 0.5, 0.3), *both("mixed", 0.6, 0.2), *both("oracle_exact", 0.6, 0.3)))
    header, _, uniform, mixed, oracle = rows(text)
    assert header == [
        "rule",
        "geometry3k (twin), 2 steps, 8 seeds, 2 compared",
        "mathvista (twin) after geometry3k, 2 steps, 8 seeds, 2 compared",
    ]
    assert uniform[0] == "uniform" and oracle[0] == "oracle_exact (control)"
    assert mixed[1].endswith("\u25b2") and mixed[2].endswith("\u25bc")


def test_other_weights_and_older_schemas_have_matrices_of_their_own():
    small, habits, old = Model("small", "a", 1), Model("habits", "b", 1), Model("small", "c", 1)
    records = [one for model in (small, habits) for rule in ("uniform", "x") for one in runs(rule, 0.5, model=model)]
    records += [one for rule in ("uniform", "x") for one in runs(rule, 0.5, model=old, identity=None)]
    text = matrices(board(*records))
    titles = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert len(titles) == 3 and titles[-1].endswith("recorded under schema 1")
    assert all(len(row) == 2 for row in rows(text)), "no column beside another"


def test_the_seeds_of_a_heading_are_those_of_the_comparisons():
    """Eight seeds of a rule beside three of `uniform` are three pairs."""
    cells = {row[0]: row[1] for row in rows(matrices(board(*runs("uniform", 0.5, range(3)), *runs("x", 0.5))))}
    assert "3 seeds, 1 compared" in cells["rule"] and "(" not in cells["x"]


def test_a_wide_matrix_is_split():
    def many(rule):
        benches = [an_evaluation(scores(0.5, 0, rule), bench=f"b{number}") for number in range(7)]
        return [a_record(rule, seed, evaluations=tuple(benches)) for seed in range(3)]

    text = matrices(board(*many("uniform"), *many("x")))
    assert [len(row) for row in rows(text) if row[0] == "rule"] == [4, 4, 2]


def test_fewer_common_seeds_are_said_in_the_cell():
    few = *runs("x", 0.5, seeds=range(3)), *runs("y", 0.5, seeds=range(2))
    text = matrices(board(*runs("uniform", 0.5), *runs("z", 0.5), *few))
    cells = {row[0]: row[1] for row in rows(text)}
    assert "8 seeds" in cells["rule"] and "(" not in cells["z"] and "(3 seeds)" in cells["x"]
    assert "(2 seeds)" in cells["y"] and "[" not in cells["y"], "too few for an interval"


@pytest.mark.parametrize(
    ("p", "adjusted", "value", "sign"),
    [
        (0.01, 0.04, 1, " \u25b2"),
        (0.01, 0.2, 1, " \u25b3"),
        (0.2, 0.9, 1, ""),
        (0.01, 0.04, -1, " \u25bc"),
        (0.01, 0.2, -1, " \u25bd"),
    ],
)
def test_marks(p, adjusted, value, sign):
    found = Difference(value, value - 0.5, value + 0.5, 0.0, p, adjusted)
    assert mark(found) == sign
    assert mark(found, Difference(1, 0.5, 1.5, 0.0, 0.001, 0.001)) == f"{sign or ' '}s"
    assert mark(None) == ""


# --- costs -------------------------------------------------------------------------------------------------------


def test_the_time_of_a_step_is_that_of_the_profile_times_uniform_s():
    steps = [
        {"name": name, "ratio": {"median": ratio, "low": ratio, "high": ratio}, "peak": peak}
        for name, ratio, peak in (
            ("uniform", 1.0, 200),
            ("pepo", 1.5, 300),
            ("pepo, plain", 9.0, 900),
            ("random", 2.0, 200),
        )
    ]
    cells = {row[0]: row for row in rows(rule_costs([], {"steps": {"found": {"rows": steps}}}))}
    assert cells["pepo"][1:] == ["visual_similarity, entropy", "0", "1.50 [1.50, 1.50]", "1.500"]
    assert cells.keys() - {"rule", "---"} == {"uniform", "pepo"}, "no control, and no other layout"
    _, _, *measured = rows(rule_costs([a_credit_record()], {}))
    assert measured and all(row[3:] == ["", ""] for row in measured), "not profiled"
    assert rule_costs([], {}) == "Nothing was measured yet.\n"


# --- the page and its files --------------------------------------------------------------------------------------


def test_the_order_of_the_page():
    text = front_page(Contents(board(*runs("uniform", 0.5)), [a_credit_record()], "costs\n", True, True, True))
    places = [
        text.index(part)
        for part in (
            "**The answer so far.**",
            "](credit.svg)",
            "## Training",
            "](learning.svg)",
            "costs",
            "](sections/",
            "## Definitions",
        )
    ]
    assert places == sorted(places)


@pytest.fixture
def published(tmp_path):
    """A published folder with records that are no trials, a readme aside."""
    folder = tmp_path / "leaderboard"
    for record in [*runs("uniform", 0.5, range(3)), *runs("pepo", 0.6, range(3))]:
        write(replace(record, training=replace(record.training, steps=10)), folder / "results")
    (folder / "reported.csv").write_text("paper,table,model,method,benchmark,metric,value,source,note\n")
    return folder


def test_sections_that_are_gone_are_removed_and_fail_a_check(published, capsys):
    words = site.Pages(results=str(published / "results"))
    assert site.write_pages(words) == 0
    (section,) = (published / "sections").iterdir()
    assert site.write_pages(replace(words, check=True)) == 0
    gone, own = published / "sections" / "old.md", published / "sections" / "notes.md"
    gone.write_text(section.read_text())
    own.write_text("written by hand\n")
    assert site.write_pages(replace(words, check=True)) == 1
    assert "old.md is not up to date" in capsys.readouterr().err
    assert site.write_pages(words) == 0
    assert own.exists() and section.exists() and not gone.exists()
    section.write_text("changed")
    assert site.write_pages(replace(words, check=True)) == 1


def test_an_old_picture_fails_a_check(published, capsys):
    pytest.importorskip("matplotlib")
    (published / "credit").mkdir()
    save(a_credit_record(), published / "credit" / "one.json")
    names = ("answer", "leaderboard", "shapers", "warm_start", "mistakes", "temperatures", "gates", "credit", "speed")
    readme = published.parent / "README.md"
    readme.write_text("".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in names))
    words = site.Pages(results=str(published / "results"))
    assert site.write_pages(words) == 0
    assert site.write_pages(replace(words, check=True)) == 0
    picture = published / "credit.svg"
    picture.write_text(picture.read_text().replace(drawn([a_credit_record()]), "0" * 16))
    assert site.write_pages(replace(words, check=True)) == 1
    assert "credit.svg is not up to date" in capsys.readouterr().err


def test_archived_records_are_named_with_their_number_and_not_mixed_in(published):
    before = site.build(published / "results")
    archive = published / "archive" / "schema-1"
    for record in runs("worse", 0.1, range(3)):
        write(record, archive)
        write(record, published / "results" / "archive")
    (published / "archive" / "broken.json").write_text("{}")
    built = site.build(published / "results")
    assert (
        "3 in `archive/schema-1/`, 1 in `archive/`" in built.page
        or "1 in `archive/`, 3 in `archive/schema-1/`" in built.page
    )
    assert "3 in `results/archive/geometry3k/`" in built.page
    assert built.sections == before.sections and built.problems == ()
    assert "worse" not in built.page


def test_all_numbers_go_out_as_parquet_and_csv_with_a_schema(published, tmp_path):
    out = tmp_path / "out"
    (published / "credit").mkdir()
    save(a_credit_record(), published / "credit" / "one.json")
    assert site.write_pages(site.Pages(results=str(published / "results"), export=str(out))) == 0
    assert not (published / "LEADERBOARD.md").exists()
    runs_table, from_csv = pd.read_parquet(out / "runs.parquet"), pd.read_csv(out / "runs.csv")
    assert len(runs_table) == len(from_csv) == 6
    assert set(runs_table["rule"]) == {"uniform", "pepo"} and set(runs_table["stage"]) == {"after"}
    assert runs_table["value"].to_list() == pytest.approx(from_csv["value"].to_list())
    schema = json.loads((out / "schema.json").read_text())
    for name, columns in (("runs", RUNS), ("credit", CREDIT)):
        rows_of = pd.read_parquet(out / f"{name}.parquet")
        assert (
            [one["name"] for one in schema[name]["columns"]] == list(rows_of.columns) == [one.name for one in columns]
        )
        assert all(one["meaning"] and one["type"] for one in schema[name]["columns"])
        assert schema[name]["rows"] == len(rows_of)
    credit = pd.read_parquet(out / "credit.parquet")
    efficiency = credit[(credit["rule"] == "oracle_exact") & credit["headline"]]
    assert efficiency["value"].to_list() == [1.5] and efficiency["low"].to_list() == [1.4]
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    site.write_pages(site.Pages(results=str(published / "results"), export=str(out)))
    assert first == {path.name: path.read_bytes() for path in out.iterdir()}


def test_a_damaged_measurement_is_named_and_the_others_count(tmp_path):
    folder = published_folder(tmp_path)
    save(a_credit_record(), folder / "credit" / "whole.json")
    (folder / "credit" / "empty.json").write_text("{}")
    text = (folder / "credit" / "whole.json").read_text()
    (folder / "credit" / "single.json").write_text(text.replace('"batches": ', '"batches": 1, "was": '))
    built = site.build(folder / "results")
    assert len(built.instrument) == 1
    assert [name for name in ("empty.json", "single.json") if any(name in one for one in built.problems)] == [
        "empty.json",
        "single.json",
    ]


def test_a_damaged_measurement_of_costs_is_named(tmp_path):
    folder = published_folder(tmp_path)
    (folder / "speed").mkdir()
    (folder / "speed" / "steps.json").write_text("{")
    with pytest.raises(UsageError, match=r"steps\.json is no measurement of costs"):
        site.build(folder / "results")


def test_two_measurements_of_one_title_stand_in_the_order_of_their_files(tmp_path):
    for order in (("a", "b"), ("b", "a")):
        folder = tmp_path / "".join(order)
        folder.mkdir()
        for name in order:
            save(a_credit_record(seconds=1.0 if name == "a" else 2.0), folder / f"{name}.json")
        assert [one.seconds for one in load_all(folder)] == [1.0, 2.0]


def published_folder(tmp_path):
    folder = tmp_path / "leaderboard"
    (folder / "credit").mkdir(parents=True)
    (folder / "reported.csv").write_text("paper,table,model,method,benchmark,metric,value,source,note\n")
    for run in runs("uniform", 0.5, range(3)):
        write(run, folder / "results")
    return folder


def test_the_page_of_one_s_own_runs_links_to_no_page_that_is_not_written(tmp_path):
    for run in runs("uniform", 0.5, range(3)):
        write(run, tmp_path / "results")
    (tmp_path / "credit").mkdir()
    save(a_credit_record(), tmp_path / "credit" / "one.json")
    assert "CREDIT.md)" not in site.build(tmp_path / "results").page.partition("## Definitions")[0]


def test_controls_alone_are_not_compared_rather_than_not_measured():
    assert "Nothing is compared yet" in answer(board(*runs("oracle_exact", 0.7)), [])


def test_a_p_value_stands_on_its_side_of_a_twentieth():
    assert (p_text(0.0497), p_text(0.0499999), p_text(0.05), p_text(0.0002)) == (".0497", "under .05", ".050", "2e-04")


def test_a_name_makes_no_link():
    named = runs("x", 0.6, shaper=Piece("x[a](http://e.com)", {}))
    assert "](" not in matrices(board(*runs("uniform", 0.5), *named))
