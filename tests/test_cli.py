"""What a user types and reads: fast help, and a sentence with exit code 2 for every word that cannot be used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from credit_zoo.cli import arguments as command
from credit_zoo.cli.commands import MODULES
from credit_zoo.experiment import config
from credit_zoo.policy.export import export_policy
from credit_zoo.registry import BENCHMARKS, PIECES, SHAPERS
from credit_zoo.results.store import load
from credit_zoo.run import main

ROOT = Path(__file__).parents[1]
# A whole shaper, as its author writes it outside the repository.
OWN_SHAPER = '''"""The last token of a response gets all the credit.

    A[b,t] = A[b] * T[b] if t is the last token of row b else 0
"""
from dataclasses import dataclass

from credit_zoo import masked
from credit_zoo.registry import SHAPERS


@SHAPERS.register("{name}", paper="none", preserves_mean=True, preserves_sign=True)
@dataclass(frozen=True)
class LastToken:
    share: float = 1.0

    def __call__(self, x):
        last = x.mask & (x.mask.int().flip(1).cumsum(1).flip(1) == 1)
        return x.weighted(self.share * last * masked.count(x.mask) + (1 - self.share) * x.mask)
'''


@pytest.fixture(autouse=True)
def own_plugins(monkeypatch):
    """Plugins that a test hands over are gone after it."""
    for registry in (SHAPERS, BENCHMARKS):
        for name in registry:
            registry[name]  # a shipped one that is first loaded within a test stays: its module is imported only once
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        monkeypatch.setattr(registry, "_plugins", list(registry._plugins))


@pytest.fixture
def small_run(tiny, tmp_path):
    """The words of a run of a few seconds that writes below `tmp_path` alone."""
    model = export_policy(tiny, tmp_path / "tiny")
    sizes = ["scale=smoke", "eval.questions=2", "eval.samples=2", "eval.max_tokens=8"]
    places = [f"results={tmp_path}/leaderboard/results", f"out={tmp_path}/runs"]
    return [f"model.path={model}", *sizes, *places]


def python(*words):
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)


def refused(capsys, words):
    """What stands on stderr after the words were refused: one short paragraph, nothing on stdout."""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert err.startswith("credit_zoo: ")
    assert "Traceback" not in err
    assert out == ""
    return err


# --- help --------------------------------------------------------------------------------------------------------


HEAVY = {"torch", "transformers", "accelerate", "numpy", "pandas", "PIL"}


@pytest.mark.parametrize("module", ["credit_zoo", *(f"credit_zoo.{name}" for name in MODULES)])
def test_help_imports_nothing_heavy(module):
    """What makes help quick is what it leaves alone; the clock of a busy machine says nothing."""
    done = python("-X", "importtime", "-m", module, "--help")
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "credit_zoo.registry" in loaded
    assert not HEAVY & loaded
    assert len(loaded) < 500
    assert ("usage: " in done.stdout and "examples" in done.stdout) or module == "credit_zoo"


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], []])
def test_help_lists_every_name_option_and_example(capsys, words):
    assert main(words) == 0
    text = capsys.readouterr().out
    names = [*SHAPERS, *BENCHMARKS, *(name for axis in ("base", "model", "scale") for name in command.gin_files(axis))]
    for name in (*names, *command.OPTIONS):
        assert f"\n  {name} " in text, name
    assert all(axis in text for axis in command.AXES)
    assert "shaper=pepo base=dapo" in text


def test_the_lines_of_the_help_fit_a_terminal():
    from credit_zoo.run import help_text

    assert max(len(line) for line in help_text().splitlines()) <= 120


def test_the_examples_of_the_help_are_words_that_resolve():
    from credit_zoo.run import EXAMPLES

    for line in EXAMPLES.splitlines()[1:]:
        words = [word for word in line.split()[3:] if word != "data=FOLDER"]
        parsed = command.parse(words)
        assert parsed.explain or config.resolve(parsed)


def test_help_beside_plugins_lists_them_too(capsys, tmp_path):
    (tmp_path / "listed_last.py").write_text(OWN_SHAPER.format(name="listed_last"))
    assert main(["--help", f"plugins={tmp_path}"]) == 0
    assert "\n  listed_last     The last token of a response gets all the credit." in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(SHAPERS))
def test_every_shaper_is_explained_with_its_equation_settings_and_promises(capsys, name):
    assert main([f"explain={name}"]) == 0
    text = capsys.readouterr().out
    entry = SHAPERS[name]
    assert entry.doc.strip() in text
    assert entry.facts.paper in text
    for setting in entry.factory.__dataclass_fields__:
        assert f"  {name}.{setting}=" in text
    assert f"scope: {entry.facts.scope}" in text
    assert all(signal in text for signal in entry.facts.needs)


@pytest.mark.parametrize(("slot", "name"), [(slot, name) for slot in PIECES for name in PIECES[slot]])
def test_every_piece_of_a_base_is_explained_with_its_formula_settings_and_paper(capsys, slot, name):
    assert main([f"explain={name}"]) == 0
    text = capsys.readouterr().out
    entry = PIECES[slot][name]
    assert f"{slot} {name}: base.{slot}={name}" in text
    assert entry.doc.split("\n")[0] in text and f"paper: {entry.facts.paper}" in text
    for setting in entry.factory.__dataclass_fields__:
        assert f"  {name}.{setting}=" in text
    assert ("with shaper=uniform alone" in text) is (not entry.facts.keeps_token_credit)
    if name in command.gin_files("base"):
        assert f"base {name}\n" in text


def test_a_dry_run_prints_what_was_resolved_and_runs_nothing(capsys, tmp_path):
    places = [f"results={tmp_path}/results", f"out={tmp_path}/runs"]
    assert main(["dry_run=true", "shaper=pepo", "pepo.alpha=0.25", "bench=mathvista", *places]) == 0
    text = capsys.readouterr().out
    assert "pepo.alpha = 0.25" in text
    assert "train.shaper_schedule = 'linear'" in text
    assert list(tmp_path.iterdir()) == []


# --- words that cannot be used -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "nearest", "listed"),
    [
        ("shaper=peppo", "pepo", ["uniform", "permuted(...)", "dapo"]),
        ("shaper=permutd(pepo)", "permuted", ["position_only", "mean"]),
        ("shaper=permuted:peppo", "pepo", ["uniform", "entropy"]),
        ("bench=mathvistas", "mathvista", ["geometry3k", "puzzles"]),
        ("bench=geometry3k,puzles", "puzzles", ["geometry3k", "mathvista"]),
        ("base=grop", "grpo", ["dapo", "dr_grpo"]),
        ("model=smal", "small", ["qwen2_5_vl_3b"]),
        ("scale=smok", "smoke", ["laptop", "8gpu"]),
        ("shapper=pepo", "shaper", ["bench", "seed", "plugins"]),
        ("explain=unifrom", "uniform", ["pepo"]),
        ("tracker=tensorbord", "tensorboard", ["none", "wandb"]),
        ("pepo.alhpa=0.1", "alpha", ["temperature"]),
        ("train.learning=1", None, ["lr", "steps"]),
        ("trian.lr=1", "train", ["eval", "sampling", "pepo", "ppo_clip"]),
        ("base.estimator=gppo", "grpo", ["rloo", "dr_grpo"]),
        ("uniform.alpha=1", None, ["has no settings"]),
        ("tracker=x", None, ["none", "tensorboard", "wandb"]),
        ("experiment.shaper=1", None, ["train", "eval"]),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_the_list(capsys, word, nearest, listed):
    err = refused(capsys, ["dry_run=true", word])
    assert nearest is None or f"Did you mean '{nearest}'?" in err
    assert all(name in err for name in listed)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pepo"], "'pepo' is not of the form NAME=VALUE; `--help` shows the grammar"),
        (["shaper="], "'shaper=' is not of the form NAME=VALUE"),
        (["--shaper", "pepo"], "'--shaper' is not of the form NAME=VALUE"),
        (["lr=0.1"], "'lr' is a setting of train: say train.lr=VALUE"),
        (["seed=abc"], "seed must be whole numbers like 0 or 0,1,2, got 'abc'"),
        (["seed=-1"], "seed must be different numbers from 0"),
        (["eval_only=maybe"], "eval_only must be true or false, got 'maybe'"),
        (["shaper=dapo", "base=grpo"], "shaper=dapo names a base"),
        (["bench=geometry3k,puzzles"], "one run trains on one set"),
        (["plugins=,"], "nothing empty between"),
        (["data=/no/such/folder"], "data=/no/such/folder does not exist"),
    ],
)
def test_a_word_of_the_wrong_form_is_refused(capsys, words, said):
    assert said in refused(capsys, words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shaper=pepo", "pepo.alpha=7"], "pepo.alpha must be in [0, 1], got 7.0"),
        (["shaper=pepo", "pepo.alpha=nan"], "pepo.alpha must be a number, got 'nan'"),
        (["shaper=pepo", "pepo.temperature=0"], "pepo.temperature must be in (0, inf), got 0.0"),
        (["train.lr=-1"], "train.lr must be in [0, inf), got -1.0"),
        (["steps=0"], "train.steps must be in [1, inf), got 0"),
        (["sampling.group=0"], "sampling.group must be in [1, inf), got 0"),
        (["model.dtype=x"], "model.dtype must be one of float32, bfloat16, float16, got 'x'"),
        (["train.shaper_schedule=x"], "train.shaper_schedule must be one of none, linear, got 'x'"),
        (["data.perception=7"], "data.perception must be in [0, 1], got 7.0"),
        (["eval.split=nope"], "eval.split must be one of train, val, test, got 'nope'"),
        (["reward.format=0", "reward.accuracy=0"], "must not all be 0"),
        (["base.kl_beta=-1"], "base.kl_beta must be in [0, inf), got -1.0"),
        (["ppo_clip.eps_low=2"], "ppo_clip.eps_low must be in [0, 1], got 2.0"),
        (["train.steps=many"], "train.steps must be a whole number, got 'many'"),
        (["train.steps=1.5"], "train.steps must be a whole number, got '1.5'"),
        (["train.lr=fast"], "train.lr must be a number, got 'fast'"),
        (["eval.greedy=1"], "eval.greedy must be true or false, got '1'"),
        (["pepo.alpha=0.1"], "pepo.alpha was set, but shaper=uniform does not use it"),
        (["train.lr=1", "eval_only=true"], "train.lr was set, but eval_only=true trains nothing"),
        (["ppo_clip.eps_low=0.1", "eval_only=true"], "ppo_clip.eps_low was set, but eval_only=true trains nothing"),
        (["base=dr_grpo", "grpo.eps=1"], "grpo.eps was set, but base=dr_grpo does not use it"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_its_typed_name(capsys, words, said):
    err = refused(capsys, ["dry_run=true", *words])
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_refusal_ends_the_process_with_2_and_no_traceback():
    done = python("-m", "credit_zoo.run", "shaper=pepppo")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("credit_zoo: no shaper named 'pepppo'. Did you mean 'pepo'? There are: ")


def test_a_model_that_is_not_there_is_named(capsys, tmp_path):
    assert main([f"model.path={tmp_path}/none", "eval_only=true", f"out={tmp_path}/runs"]) == 2
    assert f"model.path={tmp_path}/none could not be read" in capsys.readouterr().err


# --- plugins -----------------------------------------------------------------------------------------------------


def test_a_plugin_that_does_not_exist_is_named(capsys, tmp_path):
    assert f"plugins={tmp_path}/none.py does not exist" in refused(capsys, [f"plugins={tmp_path}/none.py"])


def test_a_plugin_with_a_shipped_name_is_refused_naming_both_files(capsys, tmp_path):
    (tmp_path / "pepo.py").write_text(OWN_SHAPER.format(name="pepo"))
    err = refused(capsys, [f"plugins={tmp_path}", "dry_run=true"])
    assert "two shapers are named 'pepo'" in err
    assert str(tmp_path / "pepo.py") in err
    assert str(ROOT / "credit_zoo" / "shapers" / "pepo.py") in err


def test_a_shaper_from_anywhere_is_found_explained_set_and_run(capsys, tmp_path, small_run):
    file = tmp_path / "last_token_only.py"
    file.write_text(OWN_SHAPER.format(name="last_token_only"))
    chosen = [f"plugins={file}", "shaper=last_token_only", "last_token_only.share=0.5"]
    assert main([f"plugins={file}", "explain=last_token_only"]) == 0
    assert "  last_token_only.share=1.0" in capsys.readouterr().out
    assert main([*chosen, *small_run, "steps=2", "train.prompts=2", "sampling.group=2", "sampling.max_tokens=8"]) == 0
    assert "shaper  last_token_only(share=0.5), schedule none" in capsys.readouterr().out
    (written,) = (tmp_path / "leaderboard" / "results").rglob("*.json")
    record = load(written)
    assert record.shaper is not None
    assert record.shaper.name == "last_token_only"
    assert record.shaper.settings == {"share": 0.5, "shaper_schedule": "none"}
    assert "last_token_only.share = 0.5" in record.gin


def test_a_setting_of_a_users_shaper_is_checked_like_any_other(capsys, tmp_path):
    (tmp_path / "last_checked.py").write_text(OWN_SHAPER.format(name="last_checked"))
    words = [f"plugins={tmp_path}", "shaper=last_checked", "dry_run=true"]
    assert "last_checked.share must be a number, got 'x'" in refused(capsys, [*words, "last_checked.share=x"])
    assert "Did you mean 'share'?" in refused(capsys, [*words, "last_checked.shore=1"])


# --- data --------------------------------------------------------------------------------------------------------


def puzzle_folder(folder, rows=3, **changed):
    """A real set of puzzles as its users have it on disk."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for k in range(rows):
        Image.new("RGB", (40, 40), (60 * k, 0, 0)).save(folder / "images" / f"{k}.png")
        row = {"id": f"puzzle-{k}", "image": f"images/{k}.png", "question": "Which?", "options": ["3", 5], "answer": 5}
        lines.append(json.dumps({name: value for name, value in (row | changed).items() if value is not None}))
    (folder / "annotations.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def measure(folder, *words):
    return ["bench=puzzles", "eval_only=true", f"data={folder}", *words]


def last_line_refused(capsys, words):
    """Data are opened after the first lines of a run were printed."""
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err


def test_a_folder_that_does_not_exist_is_refused_before_any_model_is_read(capsys, tmp_path):
    words = measure(tmp_path / "none", f"model.path={tmp_path}/no-model")
    assert f"data={tmp_path}/none does not exist" in refused(capsys, words)


def test_an_empty_folder_is_refused_with_what_is_missing(capsys, tmp_path, small_run):
    (tmp_path / "empty").mkdir()
    err = last_line_refused(capsys, [*small_run, *measure(tmp_path / "empty")])
    assert f"data={tmp_path}/empty has no annotations.jsonl; it holds: nothing" in err


def test_missing_columns_are_named_with_the_line(capsys, tmp_path, small_run):
    folder = puzzle_folder(tmp_path / "set", options=None, answer=None)
    err = last_line_refused(capsys, [*small_run, *measure(folder)])
    assert "annotations.jsonl line 1 lacks options, answer; it has id, image, question" in err


def test_a_picture_that_does_not_decode_is_named_or_dropped_and_counted(capsys, tmp_path, small_run):
    folder = puzzle_folder(tmp_path / "set")
    broken = folder / "images" / "1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    err = last_line_refused(capsys, [*small_run, *measure(folder)])
    assert str(broken) in err
    assert "data.skip_bad=true skips such rows" in err
    assert main([*small_run, *measure(folder, "data.skip_bad=true")]) == 0
    out = capsys.readouterr().out
    assert "2 questions, 1 dropped (bad picture)" in out


def test_a_set_that_one_run_does_not_find_in_its_folder_is_named(capsys, tmp_path, small_run):
    folder = puzzle_folder(tmp_path / "set")
    err = last_line_refused(capsys, [*small_run, "bench=mathvista", f"data={folder}"])
    assert "has no folder 'mathvista'; this run needs geometry3k, mathvista" in err


@pytest.mark.slow
def test_a_rule_that_returns_nan_ends_the_run_by_name_and_records_nothing(tmp_path):
    file = tmp_path / "nanny.py"
    file.write_text(
        '"""A broken rule.\n\n    A[b,t] = nan\n\nPaper: none.\n"""\n'
        "from dataclasses import dataclass\nfrom credit_zoo.registry import SHAPERS\n"
        '@SHAPERS.register("nanny", paper="none")\n@dataclass(frozen=True)\nclass Nanny:\n'
        '    def __call__(self, x):\n        return x.weighted(x.mask.float() * float("nan"))\n',
        encoding="utf-8",
    )
    words = [f"plugins={file}", "shaper=nanny", "scale=smoke", "eval.questions=2", f"out={tmp_path}/runs"]
    command = [sys.executable, "-m", "credit_zoo.run", *words, f"results={tmp_path}/leaderboard/results"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2
    assert "shaper 'nanny' returned a value that is not finite (row 0, token 0)" in done.stderr
    assert "Traceback" not in done.stderr and not list((tmp_path / "leaderboard").rglob("*.json"))
