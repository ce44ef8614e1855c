"""Losses, gradients, statistics and advantages against TRL: its own code runs here, on the same tensors."""

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from credit_zoo.objective.base import Base
from credit_zoo.objective.losses import Objective, TokenBatch, Totals
from credit_zoo.objective.policy_losses import PpoClip
from credit_zoo.objective.ratios import TokenRatio
from credit_zoo.registry import AGGREGATIONS, ESTIMATORS

pytest.importorskip("trl")

MAX_TOKENS = 12
# What TRL calls each aggregation; `bnpo` is the token mean of the tokens at hand, `dapo` that of the whole step.
NAMES = {
    "grpo": "seq_mean_token_mean",
    "dr_grpo": "seq_mean_token_sum",
    "dapo": "token_mean",
    "bnpo": "token_mean",
}
EVERY_LOSS = pytest.mark.parametrize("loss_type", list(NAMES))


@pytest.fixture(scope="module")
def trainer_class():
    from trl.trainer.grpo_trainer import GRPOTrainer

    return GRPOTrainer


def one_process():
    """What TRL asks of accelerate, with one process."""
    return SimpleNamespace(
        device=torch.device("cpu"),
        process_index=0,
        num_processes=1,
        is_main_process=True,
        gather=lambda x: x,
        reduce=lambda x, reduction: x,
    )


def stand_in(logp, loss_type, beta=0.0, eps_low=0.2, eps_high=0.2, micro_batches=1):
    """The attributes that TRL's loss reads of its trainer; the model's log-probabilities are given."""
    return SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logp, torch.zeros_like(logp), None),
        accelerator=one_process(),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=micro_batches),
        model=SimpleNamespace(training=True),
        loss_type=loss_type,
        beta=beta,
        epsilon_low=eps_low,
        epsilon_high=eps_high,
        max_completion_length=MAX_TOKENS,
        current_gradient_accumulation_steps=micro_batches,
        importance_sampling_level="token",
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        aux_loss_enabled=False,
        use_vllm=False,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
    )


def theirs(trainer_class, batch, loss_type, step_tokens=None, **settings):
    """TRL's loss, its gradient with respect to the log-probabilities, and what it logs."""
    logp = batch.logp.clone().requires_grad_()
    trainer = stand_in(logp, loss_type, **settings)
    ids = torch.zeros(batch.mask.shape, dtype=torch.int64)
    inputs = {
        "prompt_ids": ids[:, :2],
        "prompt_mask": torch.ones_like(ids[:, :2]),
        "completion_ids": ids,
        "completion_mask": batch.mask.long(),
        "advantages": batch.advantage,
        "old_per_token_logps": batch.old_logp,
        "ref_per_token_logps": batch.reference_logp,
        "num_items_in_batch": batch.mask.sum() if step_tokens is None else step_tokens,
    }
    loss = trainer_class._compute_loss(trainer, trainer.model, inputs)
    loss.backward()
    return loss.detach(), logp.grad, {name: values[0] for name, values in trainer._metrics["train"].items()}


def ours(batch, loss_type, whole=None, beta=0.0, **clip):
    logp = batch.logp.clone().requires_grad_()
    policy = Objective(TokenRatio(), PpoClip(**clip), AGGREGATIONS[NAMES[loss_type]].factory(), beta)
    loss, stats = policy(replace(batch, logp=logp), whole or totals(batch))
    loss.backward()
    return loss.detach(), logp.grad, stats


def totals(batch):
    return Totals(len(batch.mask), float(batch.mask.sum()), MAX_TOKENS)


def random_batch(seed=0, lengths=(12, 7, 1, 9, 4, 12), spread=0.4):
    """Unequal lengths, ratios on both sides of the clip range, an advantage and a reference for every token."""
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(len(lengths), MAX_TOKENS, generator=generator) for _ in range(4)]
    logp = -noise[0].abs()
    return TokenBatch(
        logp=logp,
        old_logp=logp - spread * noise[1],
        advantage=noise[2],
        mask=torch.arange(MAX_TOKENS) < torch.tensor(lengths)[:, None],
        reference_logp=logp + spread * noise[3],
    )


def rows_of(batch, index):
    names = ("logp", "old_logp", "advantage", "mask", "reference_logp")
    return TokenBatch(**{name: getattr(batch, name)[index] for name in names})


def assert_same(mine, other):
    torch.testing.assert_close(mine[0], other[0], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(mine[1], other[1], atol=1e-6, rtol=1e-6)


SETTINGS = pytest.mark.parametrize(
    "settings",
    [
        {},
        {"eps_low": 0.2, "eps_high": 0.28},
        {"eps_low": 0.1, "eps_high": 0.5, "beta": 0.04},
        {"beta": 1.0},
    ],
    ids=["symmetric clip", "clip-higher", "clip-higher and reference", "reference"],
)


@EVERY_LOSS
@SETTINGS
@pytest.mark.parametrize("spread", [0.0, 0.05, 0.4, 1.5])
def test_loss_and_gradient_of_token_advantages_are_trl_s(trainer_class, loss_type, settings, spread):
    for seed in range(3):
        batch = random_batch(seed=seed, spread=spread)
        assert_same(ours(batch, loss_type, **settings), theirs(trainer_class, batch, loss_type, **settings))


@EVERY_LOSS
@SETTINGS
def test_loss_and_gradient_of_one_advantage_per_response_are_trl_s(trainer_class, loss_type, settings):
    batch = random_batch()
    per_response = batch.advantage[:, 0]
    batch = replace(batch, advantage=per_response[:, None].expand_as(batch.logp))
    given = replace_advantage(batch, per_response)
    assert_same(ours(batch, loss_type, **settings), theirs(trainer_class, given, loss_type, **settings))


def replace_advantage(batch, advantage):
    """The batch as TRL takes it, with advantages `[B]`, which a `TokenBatch` does not hold."""
    names = ("logp", "old_logp", "mask", "reference_logp")
    return SimpleNamespace(advantage=advantage, **{name: getattr(batch, name) for name in names})


@EVERY_LOSS
def test_masks_with_holes_and_filtered_responses_are_treated_as_trl_treats_them(trainer_class, loss_type):
    batch = random_batch()
    holes = batch.mask & (torch.arange(MAX_TOKENS) % 3 != 1)
    holes[3] = False  # cut at the token limit and taken out of the loss
    batch = replace(batch, mask=holes)
    assert_same(ours(batch, loss_type, beta=0.04), theirs(trainer_class, batch, loss_type, beta=0.04))


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "dapo"])
def test_accumulated_micro_batches_are_trl_s(trainer_class, loss_type):
    batch = random_batch()
    tokens, parts = batch.mask.sum(), [rows_of(batch, slice(start, start + 2)) for start in (0, 2, 4)]
    for part in parts:
        mine = ours(part, loss_type, whole=totals(batch), beta=0.04)
        assert_same(mine, theirs(trainer_class, part, loss_type, step_tokens=tokens, micro_batches=3, beta=0.04))


def test_trl_s_bnpo_depends_on_the_micro_batches_where_the_token_mean_does_not(trainer_class):
    batch = random_batch()
    parts = [rows_of(batch, slice(start, start + 2)) for start in (0, 2, 4)]
    whole = theirs(trainer_class, batch, "bnpo")[0]
    split = sum(theirs(trainer_class, part, "bnpo", micro_batches=3)[0] for part in parts)
    assert (split - whole).abs() > 1e-3
    torch.testing.assert_close(sum(ours(part, "bnpo", whole=totals(batch))[0] for part in parts), whole)


@EVERY_LOSS
def test_share_of_clipped_tokens_and_distance_to_the_reference_are_what_trl_logs(trainer_class, loss_type):
    batch, settings = random_batch(), {"eps_high": 0.28, "beta": 0.04}
    stats, logged = ours(batch, loss_type, **settings)[2], theirs(trainer_class, batch, loss_type, **settings)[2]
    assert 0 < stats.clipped < stats.tokens
    assert stats.clipped / stats.tokens == pytest.approx(logged["clip_ratio/region_mean"])
    assert stats.reference_kl / stats.tokens == pytest.approx(logged["kl"], rel=1e-5)


def test_a_base_of_defaults_is_trl_s_grpo(trainer_class):
    batch = random_batch()
    loss, _ = Base(kl_beta=0.04).objective(batch, totals(batch))
    torch.testing.assert_close(loss, theirs(trainer_class, batch, "grpo", beta=0.04)[0])


def their_advantages(trainer_class, reward, size, scale_rewards):
    """TRL's advantages of responses of one token each: generation and reward functions are given."""
    count = len(reward)
    trainer = SimpleNamespace(
        accelerator=one_process(),
        model=SimpleNamespace(training=True, is_gradient_checkpointing=False),
        args=SimpleNamespace(
            per_device_train_batch_size=count,
            gradient_checkpointing_kwargs=None,
            steps_per_generation=1,
            gradient_accumulation_steps=1,
        ),
        _generate=lambda prompts: ([[1]] * count, [[2]] * count, None, ["x"] * count, None, {}, None, None),
        _calculate_rewards=lambda *_: reward[:, None].clone(),
        _tokenizer=SimpleNamespace(pad_token_id=0),
        reward_weights=torch.ones(1),
        reward_func_names=["reward"],
        scale_rewards=scale_rewards,
        multi_objective_aggregation="sum_then_normalize",
        num_generations=size,
        num_iterations=1,
        beta=0.0,
        environment_factories=None,
        environments=None,
        tools=None,
        pad_to_multiple_of=None,
        mask_truncated_completions=False,
        use_vllm=False,
        log_multimodal=False,
        _pending_extra_logs={},
        _pending_metrics={},
        _metrics={"train": defaultdict(list)},
        _logs={
            "prompt": [],
            "completion": [],
            "advantages": [],
            "rewards": defaultdict(list),
            "extra": defaultdict(list),
        },
    )
    inputs = [{"prompt": "?"} for _ in range(count)]
    return trainer_class._generate_and_score_completions(trainer, inputs)["advantages"]


@pytest.mark.parametrize(("name", "scale_rewards"), [("grpo", "group"), ("dr_grpo", "none")])
@pytest.mark.parametrize("size", [2, 3, 8])
def test_advantages_are_trl_s(trainer_class, name, scale_rewards, size):
    generator = torch.Generator().manual_seed(size)
    right = torch.randint(0, 2, (5 * size,), generator=generator).float()
    graded = torch.randn(5 * size, generator=generator)
    group = torch.arange(5).repeat_interleave(size)
    for reward in (right, right + 0.5, graded):
        mine = ESTIMATORS[name].factory()(reward, group)
        torch.testing.assert_close(mine, their_advantages(trainer_class, reward, size, scale_rewards))
