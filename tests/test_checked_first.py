"""What cannot end well is refused before anything is loaded: folders, plugins, rules; and what is stopped stays stopped."""

import pytest
import torch

from credit_zoo.cli.arguments import parse
from credit_zoo.experiment import setup as opening
from credit_zoo.experiment.config import resolve
from credit_zoo.experiment.experiment import Outcome
from credit_zoo.run import main

RULE = '''"""A rule.

    A[b,t] = A[b]

Paper: none.
"""
from dataclasses import dataclass
from credit_zoo import masked
from credit_zoo.registry import SHAPERS

@SHAPERS.register("{name}", paper="none", {facts})
@dataclass(frozen=True)
class Rule:
    share: float{default}

    def __call__(self, x):
        return {result}
'''


def plugin(folder, name, result="x.weighted(x.mask.float())", facts="", default=" = 1.0"):
    file = folder / f"{name}.py"
    file.write_text(RULE.format(name=name, result=result, facts=facts, default=default))
    return [f"plugins={file}", f"shaper={name}", f"out={folder}/runs", f"results={folder}/results"]


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch, own_registrations):
    def loaded(*given):
        raise AssertionError("a policy was loaded")

    monkeypatch.setattr(opening.Policy, "load", loaded)


def refused(capsys, words):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("credit_zoo: ") and "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        (
            "off_shape",
            {"result": "x.advantage"},
            "shaper 'off_shape' returned torch.float32 [",
        ),
        ("not_finite", {"result": "x.weighted(x.mask.float() * float('nan'))"}, "a value that is not finite"),
        ("outside", {"result": "x.advantage[:, None] + 0 * x.mask"}, "a value outside the mask"),
        ("broken_mean", {"result": "x.weighted(2.0 * x.mask)", "facts": "preserves_mean=True"}, "mean"),
        ("broken_sign", {"result": "x.weighted(-1.0 * x.mask)", "facts": "preserves_sign=True"}, "sign"),
        ("undeclared", {"result": "x.weighted(x.signals.entropy)"}, "does not declare"),
        ("unknown_signal", {"facts": "needs=('logprob',)"}, "unknown signals ['logprob']"),
        ("crashes", {"result": "1 / 0"}, "ZeroDivisionError: division by zero"),
        ("wrong_fact", {"facts": "preserve_mean=True"}, "Did you mean 'preserves_mean'?"),
        ("no_default", {"default": ""}, "setting no_default.share has no default"),
        ("no_python", {"result": "return ("}, "is not Python"),
        ("no_import", {"result": "0\n\nimport no_such_module"}, "could not be imported: ModuleNotFoundError"),
    ],
)
def test_a_rule_that_breaks_its_contract_is_refused_by_name_before_a_policy_is_loaded(
    name, changed, said, tmp_path, capsys
):
    err = refused(capsys, plugin(tmp_path, name, **changed))
    assert said in err and name in err


def test_a_rule_that_keeps_it_gets_as_far_as_the_policy(tmp_path):
    with pytest.raises(AssertionError, match="a policy was loaded"):
        main(plugin(tmp_path, "keeps_it"))


@pytest.mark.parametrize("option", ["results", "out"])
def test_a_folder_that_cannot_be_written_is_refused_before_a_policy_is_loaded(option, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    places = {"results": f"{tmp_path}/results", "out": f"{tmp_path}/runs"} | {option: f"{tmp_path}/file/inside"}
    err = refused(capsys, [f"{name}={place}" for name, place in places.items()])
    assert f"{option}={tmp_path}/file/inside cannot be written: Not a directory" in err


def test_no_seed_follows_one_that_was_told_to_stop(monkeypatch):
    seen = []

    def run_experiment(command, config, seed):
        seen.append(seed)
        return Outcome(143 if seed == 4 else 0)

    monkeypatch.setattr("credit_zoo.experiment.experiment.run_experiment", run_experiment)
    monkeypatch.setattr("credit_zoo.experiment.run_experiment", run_experiment, raising=False)
    assert main(["seed=3,4,5"]) == 143
    assert seen == [3, 4]


def test_ctrl_c_while_measuring_is_a_sentence_and_stops_all_seeds(monkeypatch, capsys):
    seen = []

    def run_experiment(command, config, seed):
        seen.append(seed)
        raise KeyboardInterrupt

    monkeypatch.setattr("credit_zoo.experiment.run_experiment", run_experiment, raising=False)
    assert main(["seed=4,5"]) == 130
    assert seen == [4] and capsys.readouterr().err == "credit_zoo: stopped by Ctrl-C\n"


@pytest.mark.parametrize(("told", "threads"), [(None, 1), ("3", None)])
def test_the_small_model_takes_one_thread_unless_told(told, threads, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    opening.choose_threads(resolve(parse(["shaper=uniform"])))
    assert chosen == ([threads] if threads else [])


def test_a_larger_model_takes_the_threads_that_the_load_leaves(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(opening.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for load in (0.2, 5.0, 20.0):
        monkeypatch.setattr(opening.os, "getloadavg", lambda load=load: (load, 0, 0), raising=False)
        opening.choose_threads(resolve(parse(["model.path=elsewhere"])))
    assert chosen == [8, 3, 1]


def test_records_and_runs_need_folders_of_their_own(tmp_path, capsys):
    assert "out= and results= are both" in refused(capsys, [f"out={tmp_path}/x", f"results={tmp_path}/x"])
