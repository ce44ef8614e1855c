"""A queue of runs: the grid by hand, what counts as done, what a stop and a failure leave, how long it takes."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from records import a_record, a_training, an_evaluation

from credit_zoo.cli.arguments import parse
from credit_zoo.errors import UsageError
from credit_zoo.experiment import sweep as queue
from credit_zoo.experiment.expected import ExpectedRun, Foresight, recorded
from credit_zoo.experiment.grid import grid_runs
from credit_zoo.experiment.sweep import Sweep, _text, planned, run_sweep
from credit_zoo.experiment.sweep_estimate import forecast, hours_text, rates
from credit_zoo.policy.export import export_policy
from credit_zoo.registry import CONFIGS, SHAPERS
from credit_zoo.results.store import load_all
from credit_zoo.run import main as run_command

SIZES = (
    "scale=smoke steps=2 train.prompts=2 sampling.group=2 sampling.max_tokens=8 "
    "eval.questions=2 eval.samples=2 eval.max_tokens=8"
)


def words(text):
    return [" ".join(run.words) for run in grid_runs(text, "grid.txt")]


# --- the grid ----------------------------------------------------------------------------------------------------


def test_seeds_are_outermost_so_that_all_rules_have_as_many():
    assert words("shaper=a,b seed=1-2 bench=x") == [
        "shaper=a seed=1 bench=x",
        "shaper=b seed=1 bench=x",
        "shaper=a seed=2 bench=x",
        "shaper=b seed=2 bench=x",
    ]


def test_seeds_are_outermost_over_lines_as_well():
    assert words("shaper=a seed=3,5\nshaper=b seed=1-2\nshaper=c") == [
        "shaper=a seed=3", "shaper=b seed=1", "shaper=c", "shaper=a seed=5", "shaper=b seed=2",
    ]  # fmt: skip


def test_what_is_spanned_and_what_is_not():
    assert words("shaper=mean(pepo,entropy),permuted:pepo bench=geometry3k,mathvista model.layers=1,2") == [
        "shaper=mean(pepo,entropy) bench=geometry3k,mathvista model.layers=1,2",
        "shaper=permuted:pepo bench=geometry3k,mathvista model.layers=1,2",
    ]
    assert len(words("shaper=a,b base=c,d model=e,f seed=1-3")) == 24


def test_comments_empty_lines_and_continued_lines():
    assert words("# all\n\nshaper=a \\\n  seed=1  # one\n") == ["shaper=a seed=1"]
    assert words("shaper=a \\\n# a comment between\n  seed=1\n") == ["shaper=a seed=1"], "it goes on behind the comment"


def test_ranked_and_controls_are_all_that_are_registered():
    ranked = [one.partition("=")[2] for one in words("shaper=ranked")]
    controls = [one.partition("=")[2] for one in words("shaper=controls")]
    assert sorted([*ranked, *controls]) == list(SHAPERS)
    assert "uniform" in ranked and "oracle_exact" in controls


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no runs"),
        ("shaper", r"grid\.txt line 1: 'shaper' is not of the form"),
        ("\nshaper=a seed=8-1", r"line 2: seed must be numbers and ranges"),
        ("shaper=a seed=x", "seed must be numbers and ranges"),
        ("shaper=a seed=\u00b2", "seed must be numbers and ranges"),
        ("shaper=a,a", "stands twice"),
        ("shaper=a seed=1-2 seed=5-6", "seed= stands twice"),
        ("shaper=a\nshaper=, seed=1", "line 2: shaper names nothing"),
        ("shaper=a supersedes=x", "supersedes= is for one run"),
        ("shaper=a resume=true", "resume= is the sweep's own"),
        ("shaper=a \\", "ends with a backslash"),
    ],
)
def test_what_is_no_grid_is_said_with_its_line(text, said):
    with pytest.raises(UsageError, match=said):
        grid_runs(text, "grid.txt")


@pytest.mark.parametrize("file", sorted((CONFIGS / "sweep").glob("*.txt")), ids=lambda file: file.stem)
def test_every_word_of_the_grids_that_ship_can_be_used(file):
    for run in grid_runs(
        re.sub(r"\bmine\b", "siblings", file.read_text()), file.name
    ):  # a rule of yours stands for any
        command = parse(run.words)
        assert len(command.seeds) == 1 and command.model in ("habits", "habits_fluent")


def test_a_file_with_a_mark_is_read_and_one_of_another_encoding_named(tmp_path):
    file = tmp_path / "grid.txt"
    file.write_bytes(b"\xef\xbb\xbfshaper=uniform")
    assert _text(file) == "shaper=uniform"
    file.write_bytes("# für".encode("latin-1"))
    with pytest.raises(UsageError, match=r"grid\.txt is not UTF-8"):
        _text(file)


# --- what is done ------------------------------------------------------------------------------------------------


@pytest.fixture
def grid(tiny, tmp_path):
    """A file of a run of two seconds and one that breaks, and a sweep of it."""
    model = export_policy(tiny, tmp_path / "tiny")
    file = tmp_path / "grid.txt"
    file.write_text(f"shaper=uniform seed=0-1 model.path={model} {SIZES}\n")
    return Sweep(str(file), results=str(tmp_path / "results"), out=str(tmp_path / "runs"))


def states(sweep):
    lines = (sweep.folder / f"{sweep.name}.state").read_text().splitlines()
    return [line.split()[0] for line in lines if not line.startswith("#")]


def test_a_run_that_anybody_recorded_is_done(grid, monkeypatch):
    (first, _) = planned(grid)
    assert run_command([f"results={grid.results}", f"out={grid.out}", *first.words]) == 0
    jobs = planned(grid)
    queue.mark_done(jobs)
    assert [job.state for job in jobs] == ["done", "missing"], "told ahead as the record tells it"


@pytest.mark.slow
def test_a_sweep_runs_what_is_missing_and_then_has_nothing_to_do(grid, monkeypatch, capsys):
    assert run_sweep(grid) == 0
    records, problems = load_all(grid.folder.parents[1] / "results")
    assert [record.seed for record in records] == [0, 1] and problems == []
    assert states(grid) == ["done", "done"]
    jobs = planned(grid)
    assert all(job.run.is_recorded(recorded(records)) for job in jobs), "told ahead as the record tells it"
    monkeypatch.setattr(queue, "_start", lambda *_: pytest.fail("nothing is left to run"))
    assert run_sweep(grid) == 0
    assert "2 runs: 2 done; nothing is left to do" in capsys.readouterr().out


def test_another_setting_benchmark_or_seed_is_another_run(grid, tiny):
    ahead = Foresight()
    base = grid_runs(Path(grid.file).read_text(), "grid.txt")[0].words
    one = ahead.expected(base)
    others = [(*base, word) for word in ("seed=7", "train.lr=0.5", "shaper=entropy", "base=dapo", "data.perception=1")]
    assert len({ahead.expected(more).key for more in others} | {one.key}) == len(others) + 1
    more = ahead.expected((*base, "bench=geometry3k,mathvista"))
    assert more.key == one.key and more.measures > one.measures, "the same training, measured on more"
    fewer = ahead.expected((*base, "eval.samples=1"))
    assert fewer.key == one.key and fewer.measures != one.measures
    known = {one.key: one.measures}
    assert one.is_recorded(known) and not more.is_recorded(known) and not fewer.is_recorded(known)
    beside = ahead.expected((*base, "train.micro_batch=1", "checkpoint.every=1"))
    assert beside.is_recorded(known), "what changes no number makes no other run"


def test_a_run_that_two_lines_name_is_run_once(grid, tmp_path):
    file = tmp_path / "grid.txt"
    file.write_text(file.read_text() + file.read_text())
    assert len(planned(grid)) == 2


def test_words_that_cannot_be_used_are_refused_with_their_line_before_anything_runs(grid, tmp_path):
    file = tmp_path / "grid.txt"
    file.write_text(f"{file.read_text()}shaper=peppo\n")
    with pytest.raises(UsageError, match=r"grid\.txt line 2, shaper=peppo: .*Did you mean 'pepo'"):
        planned(grid)


def fake(monkeypatch, command):
    """Starts something else in a run's place."""

    def start(words, log):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            return subprocess.Popen([sys.executable, "-c", command], stdout=file, stderr=file, start_new_session=True)

    monkeypatch.setattr(queue, "_start", start)


def test_a_run_that_fails_stops_nothing_and_is_named_with_its_log(grid, monkeypatch, capsys):
    fake(monkeypatch, "import sys; sys.exit('credit_zoo: it broke')")
    assert run_sweep(grid) == 1
    assert states(grid) == ["failed", "failed"], "the second was tried too"
    err = capsys.readouterr().err
    assert err.count("failed: shaper=uniform") == 2 and "ended with status 1: credit_zoo: it broke; log:" in err


def test_a_run_that_ends_well_without_its_record_is_not_lost_in_silence(grid, monkeypatch, capsys):
    fake(monkeypatch, "print('all is well')")
    assert run_sweep(grid) == 1
    assert "ended with 0 and left no record of this run" in capsys.readouterr().err


def test_two_jobs_run_at_once(grid, monkeypatch):
    fake(monkeypatch, "import time; time.sleep(0.5)")
    most = []
    write = queue._write_state
    monkeypatch.setattr(
        queue, "_write_state", lambda s, jobs: most.append(sum(j.state == "running" for j in jobs)) or write(s, jobs)
    )
    run_sweep(replace(grid, jobs=2))
    assert max(most) == 2


def test_a_signal_lets_the_runs_save_themselves_and_starts_no_more(grid, monkeypatch, capsys):
    """The run takes SIGTERM as a real one does: it ends with 128 and the signal's number."""
    fake(
        monkeypatch,
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "import os; os.kill(os.getppid(), signal.SIGTERM)\n"
        "time.sleep(60)",
    )
    assert run_sweep(grid) == 128 + signal.SIGTERM
    assert states(grid) == ["stopped", "missing"]
    assert "failed" not in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_two_sweeps_of_one_file_do_not_run_everything_twice(grid):
    with queue._alone(grid), pytest.raises(UsageError, match="another sweep of grid"), queue._alone(grid):
        pass


@pytest.mark.slow
def test_a_sweep_that_is_stopped_goes_on_where_it_was(grid, tmp_path):
    file = tmp_path / "grid.txt"
    file.write_text(file.read_text().replace("steps=2", "steps=400").replace("seed=0-1", "seed=0"))
    command = [sys.executable, "-m", "credit_zoo.sweep", grid.file, f"results={grid.results}", f"out={grid.out}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while not list(tmp_path.rglob("steps.jsonl")):
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert states(grid) == ["stopped"]
    file.write_text(file.read_text())
    (job,) = planned(grid)
    assert job.state == "missing"
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert len(load_all(tmp_path / "results")[0]) == 1
    assert "from    step" in next((grid.folder / "grid").glob("*.log")).read_text()


# --- how long ----------------------------------------------------------------------------------------------------


def took(rule, training_seconds, whole, **changes):
    """A run of two steps of 4 prompts by 2 answers, 4 questions by 2 samples before and after."""
    curve = tuple({"step": step, "seconds": training_seconds / 2} for step in (1, 2))
    training = a_training(curve=curve, settings={"train.prompts": 4, "sampling.group": 2})
    asked = (an_evaluation(stage="before"), an_evaluation())
    return a_record(rule, training=training, seconds=whole, evaluations=asked, **changes)


def a_run(shaper="pepo", model="own/small", trained_on="geometry3k", base="grpo", responses=160, answers=32):
    command = parse([f"shaper={shaper}", f"base={base}"])
    return ExpectedRun(command, "key", frozenset(), model, trained_on, responses, answers)


def test_an_estimate_by_hand():
    """16 responses in 8 s are .5 s each, 16 answers in 4 s .25 s each: 160 x .5 + 32 x .25 = 88."""
    found = rates([took("pepo", 8.0, 12.0)])
    one = forecast(a_run(), found)
    assert (one.seconds, one.like) == (pytest.approx(88.0), "the same rule")


def test_what_an_estimate_is_told_from():
    found = rates([took("pepo", 8.0, 12.0), took("entropy", 16.0, 20.0)])
    assert forecast(a_run("siblings"), found).like == "other rules under the same base"
    assert forecast(a_run("siblings"), found).seconds == pytest.approx(160 * 0.75 + 32 * 0.25), "the median of both"
    assert forecast(a_run(base="dapo"), found).like == "other bases"
    assert forecast(a_run(trained_on="puzzles"), found).like == "other sets"
    assert forecast(a_run(model="other"), found).seconds is None
    assert forecast(a_run(), {}).seconds is None


def test_hours_in_a_sentence():
    known = forecast(a_run(responses=14400, answers=0), rates([took("pepo", 8.0, 12.0)]))
    assert hours_text([known, known], jobs=2) == "about 2.0 hours with jobs=2 (told of 2 by runs of the same rule)"
    assert "1 runs have nothing like them on record" in hours_text([forecast(a_run(), {})], jobs=1)
    assert hours_text([], jobs=1) == "nothing is left to do"


def test_a_dry_run_tells_states_and_hours_and_runs_nothing(grid, monkeypatch, capsys):
    monkeypatch.setattr(queue, "_start", lambda *_: pytest.fail("a dry run runs nothing"))
    assert run_sweep(replace(grid, dry_run=True)) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[:2]] == ["missing", "missing"]
    assert "2 runs: 2 missing; 2 runs have nothing like them on record: measure=true" in out[-1]
    assert not grid.folder.exists()
