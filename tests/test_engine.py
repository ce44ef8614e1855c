"""Engines and saves: half precision, settings, a state that survives, damage that is noticed."""

import copy
import dataclasses

import pytest
import torch
from accelerate import Accelerator
from steps import Numbers, batch, collector, trainer

from credit_zoo.registry import UsageError
from credit_zoo.training.checkpoints import (
    CheckpointConfig,
    TrainingState,
    latest,
    mark_finished,
    mark_started,
    save,
    unfinished_runs,
)
from credit_zoo.training.engine import NonFiniteError, ParallelConfig, torch_engine
from credit_zoo.training.loop import train_policy
from credit_zoo.training.schedule import TrainConfig
from credit_zoo.training.step import prepare, update


def adam(policy, steps=4):
    """A trainer with the optimizer of real runs."""
    t = trainer(policy, "pepo")
    engine = torch_engine(Accelerator(cpu=True), t.policy, rate=1e-3, weight_decay=0.1)
    return dataclasses.replace(
        t, engine=engine, train=TrainConfig(steps=steps, lr=1e-3), collector=collector(t.policy, t.base)
    )


def weights(t):
    return {name: value.clone() for name, value in t.policy.state_dict().items()}


def test_what_was_saved_goes_on_bit_for_bit(tiny, tmp_path):
    whole, reports = adam(tiny), []
    train_policy(whole, Numbers((2, 3)), 0, lambda report, following: reports.append(report))

    class Enough(Exception):
        pass

    def stop(report, following):
        done.append(report)
        if len(done) == 2:
            save(tmp_path, TrainingState(following, tuple(done), 1.5), cut.engine.state(), keep=2)
            raise Enough

    cut, done = adam(tiny), []
    with pytest.raises(Enough):
        train_policy(cut, Numbers((2, 3)), 0, stop)
    found = latest(tmp_path)
    assert (found.progress.step, found.progress.seconds, found.progress.reports) == (2, 1.5, tuple(done))
    fresh = adam(tiny)
    fresh.engine.load(found.state)
    begun = (found.progress.step, found.progress.next)
    train_policy(fresh, Numbers((2, 3)), 0, lambda report, following: done.append(report), begun)
    assert all(torch.equal(value, weights(fresh)[name]) for name, value in weights(whole).items())
    assert [dataclasses.replace(r, seconds=0) for r in done] == [dataclasses.replace(r, seconds=0) for r in reports]


def progress(tiny, steps):
    t, reports = adam(tiny, steps), []
    train_policy(t, Numbers((2,)), 0, lambda report, following: reports.append(report))
    return TrainingState(2 * steps, tuple(reports), 0.0), t.engine.state()


def test_a_damaged_save_is_named_and_the_one_before_is_used(tiny, tmp_path, capsys):
    for steps in (1, 2, 3):
        path = save(tmp_path, *progress(tiny, steps), keep=3)
    state = path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    (tmp_path / "saves" / "step-000002" / "sums.json").unlink()
    assert latest(tmp_path).progress.step == 1
    said = capsys.readouterr().err
    assert "step-000003 is damaged (its sum is not the one that was written)" in said and "step-000002" in said


def test_only_the_last_saves_are_kept_and_half_a_save_is_none(tiny, tmp_path):
    assert latest(tmp_path) is None
    for steps in (1, 2, 3):
        save(tmp_path, *progress(tiny, steps), keep=2)
    (tmp_path / "saves" / ".step-000009.part").mkdir()
    assert sorted(path.name for path in (tmp_path / "saves").glob("step-*")) == ["step-000002", "step-000003"]
    assert latest(tmp_path).progress.step == 3


def test_only_a_run_of_the_same_key_that_did_not_end_is_gone_on_with(tmp_path):
    for name, key in (("a", "k"), ("b", "k"), ("c", "other")):
        mark_started(tmp_path / name, key, f"2026-01-0{'abc'.index(name) + 1}")
    mark_finished(tmp_path / "b")
    assert unfinished_runs(tmp_path, "k") == [(tmp_path / "a", "2026-01-01")]


def test_a_process_that_does_not_write_holds_no_copy_of_the_state(tiny):
    engine = adam(tiny).engine
    assert engine.state(here=False) == {} and engine.state().keys() == {f"weight/{name}" for name in engine.names}


def test_saves_fall_due_every_so_often_and_at_the_end():
    assert [step for step in range(1, 8) if CheckpointConfig(every=3).due(step, 7)] == [3, 6, 7]
    assert not any(CheckpointConfig().due(step, 7) for step in range(1, 8))


def test_a_gradient_that_is_not_finite_leaves_weights_and_moments_alone(tiny):
    t = adam(tiny)
    update_batch = prepare(t, batch(tiny), 0.5)
    update(t, update_batch, 1e-3)
    before = copy.deepcopy(t.engine.state())
    for parameter in t.engine.parameters:
        parameter.grad = torch.full_like(parameter, torch.inf)
    with pytest.raises(NonFiniteError):
        t.engine.step(1e-3, 1.0)
    after = t.engine.state()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in t.engine.parameters)


@pytest.mark.parametrize(("settings", "said"), [
    ({"processes": -1}, "parallel.processes"),
    ({"zero": "2", "offload": "all"}, "parallel.offload must be none or optimizer with parallel.zero=2"),
    ({"offload": "optimizer"}, "parallel.offload must be none with parallel.zero=none"),
])  # fmt: skip
def test_what_cannot_be_spread_so_is_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        ParallelConfig(**settings)


def test_half_precision_weights_are_moved_in_float32(tiny):
    """A thousand steps of a thousandth of what bfloat16 can tell apart are a whole one."""
    layer = torch.nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    engine = torch_engine(Accelerator(cpu=True), layer, rate=1e-5, weight_decay=0.0)
    for _ in range(1000):
        layer.weight.grad = torch.ones_like(layer.weight)
        engine.step(1e-5, 1.0)
    assert float(layer.weight.detach()) == pytest.approx(0.99, abs=4e-3)
    assert layer.weight.dtype == torch.bfloat16
    assert engine.state()["weight/weight"].dtype == torch.float32
