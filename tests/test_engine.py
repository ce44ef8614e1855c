"""Engines and saves: half precision, settings, a state that survives, damage that is noticed."""

import copy
import dataclasses
import math

import engine_matrix
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from steps import Numbers, batch, collector, trainer
from torch import nn

from credit_zoo.errors import UsageError
from credit_zoo.training.checkpoints import (
    CheckpointConfig,
    TrainingState,
    finished_runs,
    latest,
    mark_finished,
    mark_started,
    save,
    unfinished_runs,
)
from credit_zoo.training.deepspeed_zero import deepspeed_engine
from credit_zoo.training.engine import NonFiniteError, ParallelConfig, torch_engine
from credit_zoo.training.loop import train_policy
from credit_zoo.training.processes import check_environment, open_accelerator
from credit_zoo.training.step import prepare, update
from credit_zoo.training.train_config import TrainConfig


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
        mark_started(tmp_path / name, key, f"2026-01-0{'abc'.index(name) + 1}", {"data": name})
    mark_finished(tmp_path / "b")
    assert unfinished_runs(tmp_path, "k") == [(tmp_path / "a", "2026-01-01", {"data": "a"})]
    assert finished_runs(tmp_path, "k") == [(tmp_path / "b", "2026-01-02", {"data": "b"})]


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


@pytest.fixture(scope="module")
def accelerator():
    """One process, which DeepSpeed may make a group of; nothing of that is left to the tests that follow."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"DS_ACCELERATOR": "cpu", "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
            environment.setenv(name, value)
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
            environment.delenv(name)
        yield Accelerator(cpu=True, mixed_precision="no")
    if torch.distributed.is_initialized():
        import deepspeed

        torch.distributed.destroy_process_group()
        deepspeed.comm.comm.cdb = None


def agree(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=tolerance, rtol=tolerance, msg=name)


def made(name, layers, accelerator):
    if name != "none":
        pytest.importorskip("deepspeed")
    return engine_matrix.engine(name, layers, accelerator)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("dtype", engine_matrix.DTYPES)
@pytest.mark.parametrize("name", engine_matrix.ENGINES)
def test_every_engine_moves_float32_weights_by_adamw(accelerator, name, dtype, parts):
    """Also those of bfloat16 layers, from the first update on; micro-batches of bfloat16 round what they add up."""
    layers = engine_matrix.module(dtype)
    begun = {key: value.float() for key, value in layers.state_dict().items()}
    engine = made(name, layers, accelerator)
    for key, value in engine.state().items():
        torch.testing.assert_close(value, begun[key.partition("/")[2]], rtol=0, atol=0)
    norms = engine_matrix.train(engine, range(4), dtype, accelerator, parts)
    expected, theirs = engine_matrix.by_hand(range(4), dtype)
    tolerance = 1e-5 if parts == 1 or dtype == "float32" else 2e-3
    agree(engine.state(), expected, tolerance)
    assert norms == pytest.approx(theirs, rel=max(tolerance, 1e-5) * 5)
    with engine.whole():
        for key, parameter in layers.named_parameters():
            weight = expected.get(f"weight/{key}", begun[key])
            torch.testing.assert_close(
                parameter.detach().float(), weight.to(parameter.dtype).float(), atol=tolerance * 5, rtol=0.008
            )


@pytest.mark.parametrize("dtype", engine_matrix.DTYPES)
@pytest.mark.parametrize("then", engine_matrix.ENGINES)
@pytest.mark.parametrize("first", ["none", "0", "1", "2", "3"])
def test_every_engine_goes_on_from_every_other(tmp_path, accelerator, first, then, dtype):
    engine = made(first, engine_matrix.module(dtype), accelerator)
    engine_matrix.train(engine, range(2), dtype, accelerator)
    save(tmp_path, TrainingState(), engine.state(), keep=1)
    kept = latest(tmp_path).state
    if then != "none":
        pytest.importorskip("deepspeed")
    again = engine_matrix.resumed(then, kept, engine_matrix.module(dtype), accelerator)
    agree(again.state(), kept, 0)
    engine_matrix.train(again, range(2, 5), dtype, accelerator)
    agree(again.state(), engine_matrix.by_hand(range(5), dtype)[0], 1e-5)


@pytest.mark.parametrize("dtype", engine_matrix.DTYPES)
@pytest.mark.parametrize("name", engine_matrix.ENGINES)
def test_a_parameter_that_has_no_gradient_is_moved_by_every_engine_alike(accelerator, name, dtype):
    """A vision tower, in a step without pictures: it decays and the moments that it has go on."""

    class Half(nn.Sequential):
        def forward(self, x):
            return self[0](x)

    def built():
        torch.manual_seed(0)
        return Half(nn.Linear(7, 3), nn.Linear(4, 4)).to(getattr(torch, dtype))

    engine = made(name, built(), accelerator)
    engine_matrix.train(engine, range(2), dtype, accelerator)
    state, rates = engine.state(), (engine_matrix.RATE, engine_matrix.RATE / 2)
    shrunk = math.prod(1 - rate * engine_matrix.DECAY for rate in rates)
    torch.testing.assert_close(state["weight/1.weight"], built()[1].weight.detach().float() * shrunk)
    again = engine_matrix.resumed(name, state, built(), accelerator)
    for one in (engine, again):
        engine_matrix.train(one, range(2, 4), dtype, accelerator)
    agree(again.state(), engine.state(), 1e-6)


@pytest.mark.parametrize("dtype", engine_matrix.DTYPES)
@pytest.mark.parametrize("name", engine_matrix.ENGINES)
def test_a_gradient_that_is_not_finite_is_noticed_by_every_engine(accelerator, name, dtype):
    engine = made(name, engine_matrix.module(dtype), accelerator)
    with engine.micro_batch(last=True):
        engine.backward(engine.module(engine_matrix.rows(0, dtype)).float().sum() * torch.inf)
    with pytest.raises(NonFiniteError):
        engine.step(1e-3, 1.0)


@pytest.mark.parametrize(("dtypes", "said"), [
    ((torch.float16, torch.float16), "weights of float16 cannot be trained here: .* set model.dtype=bfloat16"),
    ((torch.bfloat16, torch.float32), "this model has bfloat16 and float32"),
])  # fmt: skip
def test_weights_that_deepspeed_would_cast_are_refused(accelerator, dtypes, said):
    layers = nn.Sequential(*[nn.Linear(2, 2, dtype=dtype) for dtype in dtypes])
    with pytest.raises(UsageError, match=said):
        deepspeed_engine(accelerator, layers, ParallelConfig(zero="2"), 1e-3, 0.0, 1.0)


@pytest.mark.parametrize(("name", "value"), [
    ("ACCELERATE_DYNAMO_BACKEND", "inductor"),
    ("ACCELERATE_DYNAMO_BACKEND", "EAGER"),
    ("ACCELERATE_USE_FSDP", "true"),
    ("ACCELERATE_USE_FSDP", "1"),
    ("ACCELERATE_USE_MEGATRON_LM", "true"),
    ("ACCELERATE_USE_DEEPSPEED", "True"),
    ("ACCELERATE_USE_PARALLELISM_CONFIG", "true"),
])  # fmt: skip
def test_an_environment_that_would_train_another_policy_than_is_sampled_from_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"{name}={value} is set in the environment .* unset it"):
        open_accelerator()


def test_what_accelerate_launch_sets_by_itself_is_accepted():
    check_environment({"ACCELERATE_DYNAMO_BACKEND": "no", "ACCELERATE_DYNAMO_MODE": "default"})
    check_environment({"ACCELERATE_USE_FSDP": "false", "ACCELERATE_USE_DEEPSPEED": "False"})
    check_environment({"ACCELERATE_DYNAMO_BACKEND": "NO", "ACCELERATE_MIXED_PRECISION": "no"})


@pytest.mark.parametrize("asked", ["bf16", "fp16"])
def test_no_environment_puts_autocast_around_the_trainers_pass(monkeypatch, capsys, asked):
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
    layer = nn.Linear(3, 3)
    engine = torch_engine(open_accelerator(), layer, 1e-3, 0.0)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(engine.module(x), nn.functional.linear(x, layer.weight, layer.bias))
    assert f"ACCELERATE_MIXED_PRECISION={asked} is not used: model.dtype" in capsys.readouterr().err


def test_an_accelerator_with_autocast_is_refused(monkeypatch):
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})
    with pytest.raises(UsageError, match="mixed_precision is 'bf16'"):
        torch_engine(Accelerator(cpu=True, mixed_precision="bf16"), nn.Linear(3, 3), 1e-3, 0.0)
