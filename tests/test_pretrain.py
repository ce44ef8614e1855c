"""The warm start: the same again from the same seed, and from where it stopped."""

import dataclasses

import numpy as np
import pytest
import torch

from credit_zoo.errors import UsageError
from credit_zoo.lab import pretrain
from credit_zoo.lab.pretrain import optimizers_of, train
from credit_zoo.lab.taught_solutions import Pretrain, Solutions, load_twin, vocabulary
from credit_zoo.policy.export import export_policy
from credit_zoo.policy.small_model import Size, build_encoder
from credit_zoo.twins.habit_writer import HabitWriter
from credit_zoo.twins.solutions import SolutionWriter

SMALL = Size(width=32, layers=2, heads=2, key_value_heads=1, feed_forward=64, vision_width=32, vision_layers=1)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "Size", lambda: SMALL)
    return Pretrain(work=str(tmp_path / "work"), steps=4, error_steps=2, batch=4, save_every=2, workers=0)


def weights(policy):
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


@pytest.mark.slow
def test_a_run_that_stopped_ends_like_one_that_did_not(settings, tmp_path, monkeypatch):
    whole = weights(train(settings))
    stopped = dataclasses.replace(settings, work=str(tmp_path / "stopped"))
    saved = pretrain._save

    def stop_after(settings, policy, optimizer, step):
        saved(settings, policy, optimizer, step)
        if step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(pretrain, "_save", stop_after)
    with pytest.raises(KeyboardInterrupt):
        train(stopped)
    monkeypatch.setattr(pretrain, "_save", saved)
    torch.testing.assert_close(weights(train(stopped)), whole, rtol=0, atol=0)


@pytest.mark.slow
def test_who_draws_the_solutions_changes_no_weight(settings, tmp_path):
    drawn_ahead = dataclasses.replace(settings, workers=2, work=str(tmp_path / "ahead"))
    torch.testing.assert_close(weights(train(drawn_ahead)), weights(train(settings)), rtol=0, atol=0)


@pytest.mark.slow
def test_a_checkpoint_of_other_settings_is_refused(settings):
    train(settings)
    with pytest.raises(UsageError, match="other settings"):
        train(dataclasses.replace(settings, lr=1e-4))


def test_the_last_steps_hold_slips_and_the_first_ones_none():
    settings = Pretrain(steps=4, error_steps=2, batch=32, mixture="geometry3k:5,mathvista:3")
    encoder = build_encoder(vocabulary(["geometry3k", "mathvista"], 50), Size())
    found = Solutions(settings, encoder, 0)
    for step, slipped in ((0, False), (3, True)):
        batch = found.batch(step)
        texts = encoder.decode(batch["response"], batch["sampled"])
        rng_free = dataclasses.replace(settings, error_steps=0)
        clean = Solutions(rng_free, encoder, 0).batch(step)
        differing = sum(a != b for a, b in zip(texts, encoder.decode(clean["response"], clean["sampled"]), strict=True))
        assert (differing > 8) is slipped and (differing == 0) is not slipped


def test_every_parameter_has_one_optimizer_and_embeddings_are_not_orthogonalised(tiny):
    muon, adamw = optimizers_of(tiny, weight_decay=0.05)
    held = [id(p) for optimizer in (muon, adamw) for group in optimizer.param_groups for p in group["params"]]
    assert len(held) == len(set(held)) and set(held) == {id(p) for p in tiny.parameters()}
    embedding = tiny.model.get_input_embeddings().weight
    assert any(p is embedding for group in adamw.param_groups for p in group["params"])


def test_the_learning_rate_warms_up_falls_and_ends_low():
    s = Pretrain(steps=1000, error_steps=200, lr=2e-3, error_lr=5e-4)
    assert s.learning_rate(0) == pytest.approx(2e-3 / 100, rel=1e-2)
    assert s.learning_rate(100) == pytest.approx(2e-3, rel=0.05)
    assert s.learning_rate(799) == pytest.approx(5e-4, rel=1e-2) and s.learning_rate(800) == 5e-4
    assert s.learning_rate(999) == pytest.approx(5e-5, rel=0.1)


def test_a_checkpoint_is_tuned_with_its_own_vocabulary_and_weights(settings, tiny, tmp_path):
    begun = export_policy(tiny, tmp_path / "begun")
    tuned = dataclasses.replace(
        settings, start=str(begun), mistakes="habits", steps=1, error_steps=1, response_length=96
    )
    policy = train(tuned)
    assert policy.encoder.tokenizer.get_vocab() == tiny.encoder.tokenizer.get_vocab()
    moved = (weights(policy) - weights(tiny)).abs()
    assert 0 < moved.max() < 0.05 and policy.vision_parameters()[0].requires_grad


def test_the_last_steps_hold_habits_where_the_settings_say_so_and_the_same_ones_each_time():
    settings = Pretrain(steps=4, error_steps=2, mistakes="habits", perception_habits=0.0)
    assert type(settings.writer(np.random.default_rng(0), 1)) is SolutionWriter
    example = load_twin("geometry3k").example("train", 3)
    found = []
    for _ in range(2):
        writer = settings.writer(np.random.default_rng([0, 3]), 3)
        assert isinstance(writer, HabitWriter)
        found.append("".join(span.text for span in load_twin("geometry3k").solution(example, writer)))
    assert found[0] == found[1] and found[0].count("(") == 2  # remarks


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"reasoning_habits": 1.2}, "pretrain.reasoning_habits must be in"),
        ({"remarks": -1}, "pretrain.remarks must be in"),
        ({"steps": 3, "error_steps": 4}, "pretrain.error_steps must be in"),
        ({"length": 2.0}, "pretrain.length must be in"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(UsageError, match=message):
        Pretrain(**setting)
