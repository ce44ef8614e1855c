"""The step: what it must not depend on, what it must equal, and how it ends when it breaks."""

import copy
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, pairwise

import pytest
import torch
from steps import Coin, Meeting, Numbers, batch, collector, loss_and_gradient, reordered, trainer, wider

from credit_zoo.errors import UsageError
from credit_zoo.objective.advantages import DrGrpo, Grpo
from credit_zoo.objective.base import Base
from credit_zoo.objective.losses import SeqMeanTokenSum, TokenMean
from credit_zoo.objective.policy_losses import PpoClip
from credit_zoo.objective.rewards import Reward
from credit_zoo.policy.batch_layout import BatchLayout
from credit_zoo.policy.policy import Policy
from credit_zoo.question import Score
from credit_zoo.registry import SHAPERS
from credit_zoo.rollout.processes import ProcessGroup
from credit_zoo.testing.hard_inputs import with_empty_row
from credit_zoo.training.engine import NonFiniteError, torch_engine
from credit_zoo.training.loop import Diverged, train_policy
from credit_zoo.training.out_of_memory import OutOfMemory
from credit_zoo.training.step import _shape, measure_signals, old_policy_pass, prepare, update
from credit_zoo.training.step_report import WeightSpread
from credit_zoo.training.train_config import TrainConfig

BASES = {
    "grpo": Base(),
    "dr_grpo": Base(estimator=DrGrpo(), aggregation=SeqMeanTokenSum()),
    "dapo": Base(estimator=Grpo(), loss=PpoClip(0.2, 0.28), aggregation=TokenMean()),
}


def assert_same(one, two, tolerance=1e-5):
    assert one[0] == pytest.approx(two[0], abs=tolerance)
    scale = max(float(one[1].abs().max()), 1e-3)
    torch.testing.assert_close(one[1] / scale, two[1] / scale, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("shaper", "base"),
    [
        *((shaper, "grpo") for shaper in SHAPERS),
        *((s, b) for s in ("pepo", "high_entropy") for b in ("dr_grpo", "dapo")),
    ],
)
def test_micro_batches_order_and_padding_change_neither_loss_nor_gradient(tiny, shaper, base):
    data = batch(tiny)
    whole = loss_and_gradient(trainer(tiny, shaper, base=BASES[base]), data)
    assert whole[1].abs().max() > 0
    for size in ({"micro_batch": 1}, {"micro_batch": 5}, {"micro_tokens": 150}):
        assert_same(whole, loss_and_gradient(trainer(tiny, shaper, base=BASES[base], **size), data))
    order = torch.randperm(len(data.reward), generator=torch.Generator().manual_seed(3))
    assert_same(whole, loss_and_gradient(trainer(tiny, shaper, base=BASES[base]), reordered(data, order)))
    padded = wider(data, tiny.encoder.pad_token)
    assert_same(whole, loss_and_gradient(trainer(tiny, shaper, base=BASES[base]), padded))


@pytest.mark.parametrize("shaper", [name for name in SHAPERS if SHAPERS[name].facts.scope == "response"])
def test_signals_of_the_training_forward_and_of_a_pass_of_their_own_agree(tiny, shaper):
    """Also: no gradient goes through the weights, for the second pass has none to give."""
    data = batch(tiny)
    assert_same(
        loss_and_gradient(trainer(tiny, shaper), data), loss_and_gradient(trainer(tiny, shaper, updates=2), data)
    )


def test_uniform_is_the_textbook_gradient(tiny):
    """GRPO on-policy: the gradient of  -1/B sum_b A_b 1/T_b sum_t log p."""
    data = batch(tiny)
    policy = copy.deepcopy(tiny)
    rows = BatchLayout.of(data.prompts, data.responses)
    logp = policy(rows, 1.0).logp
    loss = torch.zeros(())
    for b in range(len(data.reward)):
        group = data.reward[data.group == data.group[b]]
        advantage = (data.reward[b] - group.mean()) / (group.std() + 1e-4)
        loss = loss - advantage * logp[b][data.responses.mask[b]].mean() / len(data.reward)
    loss.backward()
    expected = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])
    _, gradient = loss_and_gradient(trainer(tiny), data)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-4)


def test_the_ramp_is_uniform_at_the_first_step_and_the_shaper_at_the_end(tiny):
    data = batch(tiny)
    uniform = loss_and_gradient(trainer(tiny), data)
    shaped = loss_and_gradient(trainer(tiny, "pepo", temperature=0.1), data)
    assert_same(
        uniform, loss_and_gradient(trainer(tiny, "pepo", shaper_schedule="linear", temperature=0.1), data, progress=0.0)
    )
    assert_same(
        shaped, loss_and_gradient(trainer(tiny, "pepo", shaper_schedule="linear", temperature=0.1), data, progress=1.0)
    )
    assert (uniform[1] - shaped[1]).norm() > 0.01 * uniform[1].norm()


# What shows only where the policy has moved, is sure of something, or has learnt to give answers.
LATER = {"uniform", "fipo", "probability", "answer_only", "tpae"}


@pytest.mark.parametrize("shaper", sorted(set(SHAPERS) - LATER))
def test_every_rule_but_uniform_changes_the_gradient(tiny, shaper):
    data = batch(tiny)
    uniform, shaped = (loss_and_gradient(trainer(tiny, name), data)[1] for name in ("uniform", shaper))
    assert (uniform - shaped).norm() > 1e-3 * uniform.norm()


def test_truncated_responses_are_left_out_by_the_overlong_filter_but_count_in_their_group(tiny):
    data = batch(tiny)
    truncated = torch.zeros(len(data.reward), dtype=torch.bool)
    truncated[1] = True
    data = dataclasses.replace(data, responses=dataclasses.replace(data.responses, truncated=truncated))
    for kept, base in ((False, Base(overlong_filter=True)), (True, Base())):
        update_batch = prepare(trainer(tiny, base=base), data, 0.0)
        assert bool(update_batch.inputs.mask[1].any()) is kept
        assert torch.equal(update_batch.inputs.advantage, Grpo()(data.reward, data.group))


def test_several_updates_leave_the_ratio_of_one(tiny):
    data = batch(tiny)
    t = trainer(tiny, "pepo", updates=2)
    update_batch = old_policy_pass(t, prepare(t, data, 0.5))
    first, second = update(t, update_batch, 1.0), update(t, update_batch, 1.0)
    assert first.stats.old_kl < 1e-6 < second.stats.old_kl
    assert first.stats.clipped == 0


@pytest.mark.parametrize("truncation", [{"top_k": 20}, {"top_p": 0.8}, {"top_k": 40, "top_p": 0.9}])
def test_under_truncation_the_trainer_starts_from_what_the_sampler_says(tiny, truncation):
    """Ratio 1, no distance to the policy itself, and a gradient like the one of a few tokens' softmax."""
    t = trainer(tiny, "pepo", base=Base(kl_beta=0.1), updates=2)
    sampling = dataclasses.replace(t.collector.sampling, **truncation)
    t = dataclasses.replace(t, reference=tiny, collector=dataclasses.replace(t.collector, sampling=sampling))
    drawn = t.collector(Numbers((2,)), 0, seed=0).batch
    drawn = dataclasses.replace(drawn, reward=torch.arange(12.0) / 12)
    update_batch = old_policy_pass(t, prepare(t, drawn, 0.5))
    first, second = update(t, update_batch, 1.0), update(t, update_batch, 1.0)
    assert first.mismatch.numbers()["sampler_difference"] < 1e-5
    assert abs(first.stats.old_kl) < 1e-6 and abs(first.stats.reference_kl) < 1e-6 and first.stats.clipped == 0
    assert first.grad_norm > 0 and 0 < second.stats.old_kl < torch.inf and 0 < second.stats.reference_kl < torch.inf


def test_gradient_checkpointing_runs_the_layers_again_and_changes_nothing(tiny):
    """Shared: every prompt is read once and its responses go on from there. Plain: each with its own."""
    data, gradients, runs = batch(tiny), [], []
    for layout, checkpointing in (("shared", False), ("shared", True), ("plain", False), ("plain", True)):
        t = trainer(tiny, "pepo")
        settings = dataclasses.replace(t.policy.settings, gradient_checkpointing=checkpointing, layout=layout)
        t = trainer(Policy(t.policy.model, t.policy.encoder, settings), "pepo")
        calls = []
        t.policy.decoder.layers[0].self_attn.register_forward_hook(
            lambda module, args, kwargs, out, calls=calls: calls.append(out[0].shape[:2].numel()), with_kwargs=True
        )
        update(t, prepare(t, data, 0.5), 1.0)
        gradients.append(torch.cat([p.detach().flatten() for p in t.policy.parameters()]))
        runs.append(calls)
    (count, prompt), (rows, length) = data.prompts.ids.shape, data.responses.ids.shape
    assert rows > count
    shared, plain = [count * prompt, rows * length], [rows * (prompt + length)]
    assert runs == [shared, [*shared, *reversed(shared)], plain, plain * 2]
    for other in gradients[1:]:
        torch.testing.assert_close(gradients[0], other, atol=1e-5, rtol=0)


def test_weight_spread_by_hand():
    w = torch.tensor([[0.5, 1.5, 1.0], [2.0, 0.0, 0.0], [9.0, 9.0, 9.0]])
    counted = torch.tensor([[True, True, False], [True, True, False], [False, False, False]])
    spread = WeightSpread.of(w, counted)
    assert spread.std == pytest.approx((2.5 / 4) ** 0.5)  # of 0.5, 1.5, 2, 0 around 1: (.25 + .25 + 1 + 1) / 4
    assert spread.ess == pytest.approx((0.8 + 0.5) / 2)  # 4 / (2 * 2.5) and 4 / (2 * 4)


def test_dynamic_sampling_refills_with_the_next_questions_until_the_batch_is_full(tiny):
    collect = collector(tiny, Base(dynamic_sampling=True, max_resampling_rounds=5))
    drawn = collect(Numbers((1, 2)), 0, seed=1)
    assert [q.answer for q in drawn.questions] == ["2", "2"] and drawn.kept == 2
    assert (drawn.asked, drawn.resampling_rounds) == (4, 1) and drawn.next == 4
    for group in drawn.batch.group.unique():
        right = drawn.batch.correct[drawn.batch.group == group]
        assert 0 < right.sum() < len(right)


class Forms(Coin):
    """Answers are right by a pattern over the responses to a prompt, and well formed by another one."""

    def __init__(self, correct, formatted, overlap=None):
        self.correct, self.formatted, self.overlap = cycle(correct), cycle(formatted), cycle(overlap or [None])

    def score(self, question, response):
        return Score(float(next(self.correct)), response, bool(next(self.formatted)), overlap=next(self.overlap))


def collect_forms(tiny, bench, reward):
    found = collector(tiny, Base(dynamic_sampling=True, max_resampling_rounds=1))
    return dataclasses.replace(found, worker=dataclasses.replace(found.worker, bench=bench), reward=reward)


@pytest.mark.parametrize(
    ("correct", "formatted", "overlap", "reward", "kept"),
    [
        ([0], [0, 1], None, Reward(), 0),  # all wrong, forms alternating
        ([1], [0, 1], None, Reward(), 0),  # all right, forms alternating
        ([0, 1], [1], None, Reward(), 2),
        ([0, 1], [1, 0], None, Reward(), 0),  # right and without form is worth what wrong and well formed is
        ([0, 1], [1], None, Reward(format=1.0, accuracy=0.0), 0),  # nothing is paid for answers, forms are equal
        ([0], [0, 1], None, Reward(format=1.0, accuracy=0.0), 2),
        ([0], [1], [0.1, 0.3], Reward(format=1.0, accuracy=0.0, overlap=1.0), 2),  # none right, some better
        ([0, 1], [1], [0.2], Reward(format=1.0, accuracy=0.0, overlap=1.0), 0),
    ],
)
def test_a_group_is_kept_if_its_answers_earn_unequal_rewards_and_its_advantages_are_not_0(
    tiny, correct, formatted, overlap, reward, kept
):
    drawn = collect_forms(tiny, Forms(correct, formatted, overlap), reward)(Numbers((1,)), 0, seed=0)
    assert drawn.kept == kept and drawn.without_effect is (kept == 0)
    if kept:
        assert Grpo()(drawn.batch.reward, drawn.batch.group).any()


def test_lengths_alone_are_no_reason_to_keep_a_group():
    reward, nothing = torch.tensor([0.0, -1.0, -0.5]), torch.zeros(3)
    assert not Base().informative(reward, nothing) and Base().informative(reward, reward)
    assert Reward(accuracy=2.0).answer({"format": 1.0, "accuracy": 2.0, "overlong": -1.0}) == 2


@pytest.mark.parametrize("settings", [{}, {"updates": 2}, {"shaper": "high_entropy"}])
def test_a_step_of_which_nothing_is_kept_moves_nothing_whatever_the_optimizer_remembers(tiny, settings):
    """All wrong with alternating forms would have advantages of 0.87 and -0.87."""
    t = trainer(tiny, base=Base(dynamic_sampling=True, max_resampling_rounds=0, kl_beta=0.1), **settings)
    engine = torch_engine(t.accelerator, t.policy, 1e-3, 0.1)
    t = dataclasses.replace(t, engine=engine, reference=tiny)
    found = collector(t.policy, t.base)
    bench = Forms([0, 1] * 6 + [0] * 100, [1] * 12 + [0, 1] * 50)
    found = dataclasses.replace(found, worker=dataclasses.replace(found.worker, bench=bench))
    states, reports = [copy.deepcopy(t.policy.state_dict())], []

    def report(step, following):
        reports.append(step)
        states.append(copy.deepcopy(t.policy.state_dict()))

    train_policy(dataclasses.replace(t, collector=found), Numbers((1,)), 0, report)
    moved = [any(not torch.equal(one[name], two[name]) for name in one) for one, two in pairwise(states)]
    assert moved == [True, False, False, False]
    assert [r.kept_prompts for r in reports] == [2, 0, 0, 0] and reports[1].grad_norm == 0 and reports[1].entropy > 0
    assert reports[1].accuracy == 0 and (reports[1].weight_std, reports[1].weight_ess) == (0, 1)


def test_without_dynamic_sampling_every_group_is_kept(tiny):
    drawn = collector(tiny, Base())(Numbers((1, 2)), 0, seed=0)
    assert (drawn.asked, drawn.kept, drawn.resampling_rounds, len(drawn.batch.reward)) == (2, 2, 0, 12)


def test_the_overlong_punishment_is_a_part_of_the_reward(tiny):
    drawn = collector(tiny, Base(overlong_cache=4))(Numbers((2,)), 0, seed=0)
    lengths = drawn.batch.responses.mask.sum(1)
    assert drawn.batch.reward_parts["overlong"][lengths == 8].eq(-1).all()
    assert drawn.batch.reward_parts["overlong"][lengths <= 4].eq(0).all()
    torch.testing.assert_close(drawn.batch.reward, torch.stack(list(drawn.batch.reward_parts.values())).sum(0))


@pytest.mark.parametrize("dynamic", [False, True])
def test_two_processes_draw_what_one_draws(tiny, dynamic):
    """Each has its share of the groups of one process: the same questions, responses and group numbers."""
    base, numbers = Base(dynamic_sampling=dynamic, max_resampling_rounds=2), Numbers((2, 1, 2, 3, 2))
    alone = collector(tiny, base, prompts=4)(numbers, 3, seed=7)
    with ThreadPoolExecutor(2) as threads:
        meeting = Meeting(2)
        shares = list(threads.map(lambda k: shared_draw(tiny, base, numbers, meeting, k), range(2)))
    assert {s.next for s in shares} == {alone.next} and {s.resampling_rounds for s in shares} == {
        alone.resampling_rounds
    }
    assert sum(s.kept for s in shares) == alone.kept and sum(s.asked for s in shares) == alone.asked
    found = {int(g): (s.batch.responses.ids[s.batch.group == g], s.batch.reward[s.batch.group == g])
             for s in shares if not s.idle for g in s.batch.group.unique()}  # fmt: skip
    assert set(found) == set(alone.batch.group.tolist())
    for group, (ids, reward) in found.items():
        assert torch.equal(alone.batch.responses.ids[alone.batch.group == group], ids)
        assert torch.equal(alone.batch.reward[alone.batch.group == group], reward)


def shared_draw(policy, base, numbers, meeting, rank):
    policy = copy.deepcopy(policy)
    processes = ProcessGroup(rank, 2, lambda own: meeting.share(rank, own))
    return dataclasses.replace(collector(policy, base, prompts=4), processes=processes)(numbers, 3, seed=7)


def test_a_process_without_a_group_adds_nothing(tiny):
    data, t = batch(tiny), trainer(tiny, "pepo")
    update_batch = prepare(t, data, 0.5, idle=True)
    before = copy.deepcopy(t.policy.state_dict())
    done = update(t, update_batch, 1.0)
    assert (done.loss, done.grad_norm, update_batch.totals.responses, update_batch.totals.tokens) == (0, 0, 0, 0)
    assert all(torch.equal(value, before[name]) for name, value in t.policy.state_dict().items())


def test_rows_without_a_token_do_not_reach_a_rule(tiny, own_registrations):
    """They keep processes in step, or were cut by the filter of truncated responses."""
    seen = []

    @SHAPERS.register("onlooker", paper="none", scope="batch", needs=("entropy",))
    @dataclasses.dataclass(frozen=True)
    class Onlooker:
        def __call__(self, x):
            seen.append(x)
            return x.weighted(torch.full(x.mask.shape, 1 / len(x.mask)))

    t, data = trainer(tiny, "onlooker"), batch(tiny)
    alone = old_policy_pass(t, prepare(t, data, 0.5))
    inputs, _ = measure_signals(t, alone)
    for place in (0, 5, len(data.reward)):
        grown = _shape(t, with_empty_row(inputs, place, group=-1))
        assert grown[place].eq(0).all()
        assert torch.equal(torch.cat([grown[:place], grown[place + 1 :]]), alone.shaped)
    assert {len(x.mask) for x in seen} == {len(data.reward)} and all(x.mask.any(1).all() for x in seen)
    cut = dataclasses.replace(data.responses, truncated=torch.arange(len(data.reward)) < 3)
    filtered = trainer(tiny, "onlooker", base=Base(overlong_filter=True))
    old_policy_pass(filtered, prepare(filtered, dataclasses.replace(data, responses=cut), 0.5))
    assert len(seen[-1].mask) == len(data.reward) - 3
    before = len(seen)
    assert old_policy_pass(t, prepare(t, data, 0.5, idle=True)).shaped.eq(0).all() and len(seen) == before


@pytest.mark.parametrize(("phase", "where", "setting"), [
    ("sampling", "credit_zoo.training.loop.sync", "train.rollout_tokens"),
    ("training", "credit_zoo.training.step.micro_batches", "train.micro_tokens"),
    ("updating", "torch.nn.utils.clip_grad_norm_", "parallel.zero"),
])  # fmt: skip
@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
    MemoryError("none left"),
])  # fmt: skip
def test_running_out_of_memory_names_the_phase_and_a_setting_that_touches_it(
    tiny, monkeypatch, phase, where, setting, error
):
    def full(*_):
        raise error

    monkeypatch.setattr(where, full)
    with pytest.raises(OutOfMemory, match=f"out of memory in {phase} .*{setting}") as found:
        train_policy(training(tiny), Numbers((2,)), seed=0, report=lambda *_: None)
    assert found.value.phase == phase
    assert all(other not in str(found.value) for other in {"train.rollout_tokens", "train.micro_tokens"} - {setting})


def training(tiny, **settings):
    t = trainer(tiny, **settings)
    return dataclasses.replace(t, collector=collector(t.policy, t.base))


def test_the_loop_moves_the_policy_and_reports_every_step(tiny):
    t = training(tiny, shaper="pepo", shaper_schedule="linear")
    before = copy.deepcopy(t.policy.state_dict())
    reports = []
    train_policy(t, Numbers((2,)), seed=0, report=lambda report, _: reports.append(report))
    assert [r.step for r in reports] == [1, 2, 3, 4]
    assert any(not torch.equal(v, before[k]) for k, v in t.policy.state_dict().items())
    assert all(torch.equal(v, before[k]) for k, v in t.policy.state_dict().items() if ".visual." in k)
    assert reports[0].weight_std == 0 < reports[-1].weight_std and reports[0].sampled_prompts == 2


@pytest.mark.parametrize("shaper", ["uniform", "pepo", "high_entropy"])
def test_a_policy_that_breaks_stops_the_run_before_the_step_and_names_the_prompts(tiny, shaper):
    t = training(tiny, shaper=shaper)

    def spoil(report, next):
        with torch.no_grad():
            t.policy.decoder.layers[0].mlp.gate_proj.weight[0, 0] = torch.nan

    # Sampling from NaN would stop elsewhere: the responses of step 2 come from an unspoilt copy.
    t = dataclasses.replace(t, collector=collector(copy.deepcopy(t.policy), t.base))
    with pytest.raises(Diverged, match=r"step 2: the loss is not finite. Prompts of the step: q2, q3"):
        train_policy(t, Numbers((2,)), seed=0, report=spoil)


def test_a_loss_that_is_not_finite_leaves_the_weights_alone(tiny):
    class Broken:
        def __call__(self, x):
            return x.log_ratio * torch.nan, x.advantage > torch.inf

    t = trainer(tiny, base=Base(loss=Broken()))
    update_batch = prepare(t, batch(tiny), 0.0)
    before = copy.deepcopy(t.policy.state_dict())
    with pytest.raises(NonFiniteError):
        update(t, update_batch, 1.0)
    assert all(torch.equal(value, before[name]) for name, value in t.policy.state_dict().items())


def test_schedules_by_hand():
    assert [TrainConfig(steps=4, lr_schedule="linear").rate(s) for s in range(4)] == [1, 0.75, 0.5, 0.25]
    assert TrainConfig(steps=4, lr_schedule="cosine").rate(2) == pytest.approx(0.5)
    assert [TrainConfig(steps=9, warmup=3).rate(s) for s in range(5)] == [0.25, 0.5, 0.75, 1, 1]


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("lr", -1.0), ("micro_batch", 0), ("max_grad_norm", 0.0)])
def test_settings_out_of_range_are_named_as_typed(name, value):
    with pytest.raises(UsageError, match=f"train.{name}"):
        TrainConfig(**{name: value})
