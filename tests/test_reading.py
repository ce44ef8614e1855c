"""What of a step is read: only what teaches, and nothing of what is learned, counted or told depends on it."""

import copy
import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from accelerate import Accelerator
from rules_and_bases import bases
from steps import Meeting, batch, loss_and_gradient, prompts, responses, trainer

from credit_zoo.objective.base import Base
from credit_zoo.objective.policy_losses import KlCov
from credit_zoo.objective.ratios import Gspo, GspoToken
from credit_zoo.policy.policy import Policy
from credit_zoo.registry import LOSSES, SHAPERS
from credit_zoo.training.reading import micro_batches
from credit_zoo.training.silence import Silence
from credit_zoo.training.step import backward, before_updates, prepare, update
from credit_zoo.types import RolloutBatch

EVERYTHING = Silence(rows=False, tokens=False, rule=False)
BASES = bases()


def dull(policy, measured=True):
    """Three prompts: one whose answers all earn as much, one with an answer that earns its group's mean, and one more."""
    found = responses(policy, measured=measured)
    reward = torch.tensor([1.0, 1, 1, 1, 0, 0.5, 0.5, 1, 1, 0, 0, 0])
    return RolloutBatch(prompts(policy), found, found.row_of, reward, reward, {"accuracy": reward})


def reads_everything(t):
    """The trainer, told that nothing is silent."""
    other = dataclasses.replace(t)
    vars(other)["silence"] = EVERYTHING
    return other


def in_layout(policy, layout):
    return Policy(policy.model, policy.encoder, dataclasses.replace(policy.settings, layout=layout))


def assert_same(one, other):
    assert one[0] == pytest.approx(other[0], abs=1e-6)
    scale = max(float(other[1].abs().max()), 1e-3)
    torch.testing.assert_close(one[1] / scale, other[1] / scale, atol=2e-5, rtol=0)


def gradients(tiny, data, **settings):
    settings = {"updates": 2 if SHAPERS[settings.get("shaper", "uniform")].facts.stage == "update" else 1, **settings}
    some, every = trainer(tiny, **settings), reads_everything(trainer(tiny, **settings))
    assert_same(loss_and_gradient(some, data), loss_and_gradient(every, data))
    return some


# --- exactness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shaper", list(SHAPERS))
def test_what_teaches_has_the_whole_gradient_whatever_the_rule(tiny, shaper):
    gradients(tiny, dull(tiny), shaper=shaper)


@pytest.mark.parametrize("base", list(BASES))
@pytest.mark.parametrize("shaper", ["uniform", "high_entropy"])
def test_what_teaches_has_the_whole_gradient_whatever_the_base(tiny, shaper, base):
    if base == "base.ratio=gspo" and shaper != "uniform":
        pytest.skip("erases the rule's credit")
    gradients(tiny, dull(tiny), shaper=shaper, base=dataclasses.replace(BASES[base], kl_beta=0.0))


@pytest.mark.parametrize("layout", ["shared", "plain"])
@pytest.mark.parametrize("shaper", ["pepo", "high_entropy", "first_tokens", "sharpen"])
@pytest.mark.parametrize("size", [{}, {"micro_batch": 2}, {"micro_tokens": 150}])
def test_layouts_and_micro_batches_read_what_teaches_alike(tiny, shaper, layout, size):
    gradients(in_layout(tiny, layout), dull(tiny), shaper=shaper, **size)


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize("shaper", ["uniform", "pepo", "high_entropy"])
def test_weights_and_numbers_of_a_step_are_those_of_reading_everything(tiny, shaper, updates, measured):
    """The second update has moved: its numbers of what does not teach are read, without a gradient."""
    reports, weights = [], []
    for change in (lambda t: t, reads_everything):
        t = change(trainer(tiny, shaper, updates=updates))
        step = before_updates(t, prepare(t, dull(tiny, measured), 0.5))
        reports.append([update(t, step, 0.5) for _ in range(updates)][-1])
        weights.append(torch.cat([p.detach().flatten() for p in t.policy.parameters()]))
    torch.testing.assert_close(*weights, atol=1e-6, rtol=0)
    some, every = reports
    assert (some.loss, some.grad_norm) == pytest.approx((every.loss, every.grad_norm), abs=1e-5)
    assert some.stats.tokens == every.stats.tokens == int(step.inputs.mask.sum())
    assert some.stats.old_kl == pytest.approx(every.stats.old_kl, abs=1e-4)
    for name, value in every.spread.numbers().items():
        assert some.spread.numbers()[name] == pytest.approx(value, abs=1e-5)
    assert some.trained_tokens < every.trained_tokens == every.stats.tokens
    told = every.entropy / every.measured_tokens
    if measured or updates > 1 or t.two_pass:
        assert some.measured_tokens == every.measured_tokens
        assert some.entropy / some.measured_tokens == pytest.approx(told, abs=1e-5)
    else:
        assert some.measured_tokens == some.trained_tokens == some.compared_tokens


def test_agreement_is_of_the_responses_that_teach_whatever_is_known_of_others(tiny):
    """Who reads more to keep processes in step, and what a sampler tells, changes nothing."""
    data = dull(tiny)
    found = {}
    for shaper in ("uniform", "pepo"):
        t = trainer(tiny, shaper)
        found[shaper] = update(t, before_updates(t, prepare(t, data, 0.5)), 0.0)
    whole = int(data.responses.mask.sum())
    assert found["uniform"].compared_tokens == found["uniform"].trained_tokens < whole
    assert found["pepo"].compared_tokens == found["pepo"].trained_tokens < whole == found["pepo"].measured_tokens


# --- what is left out ----------------------------------------------------------------------------------------------


def tokens_read(t, data):
    """Tokens that went through the first layer, and how many of them with a gradient."""
    seen = []
    hook = t.policy.decoder.layers[0].register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((args[0].shape[:2].numel(), torch.is_grad_enabled())), with_kwargs=True
    )
    update(t, before_updates(t, prepare(t, data, 0.5)), 0.0)
    hook.remove()
    return sum(tokens for tokens, _ in seen), sum(tokens for tokens, grad in seen if grad)


def test_a_dull_group_is_not_read_nor_its_prompt_nor_an_answer_that_earned_the_mean(tiny):
    data = dull(tiny)
    prompt, length = data.prompts.ids.shape[1], data.responses.ids.shape[1]
    assert tokens_read(reads_everything(trainer(tiny)), data) == (3 * prompt + 12 * length,) * 2
    assert tokens_read(trainer(tiny), data) == (2 * prompt + 6 * length,) * 2


def test_a_rule_of_the_batch_needs_no_pass_of_its_own_where_the_policy_samples(tiny):
    for measured, passes in ((True, 1), (False, 2)):
        data = batch(tiny, measured=measured)
        every = reads_everything(trainer(tiny, "high_entropy"))
        whole, trained = tokens_read(every, data)
        assert whole == passes * trained


def test_a_row_is_read_up_to_its_last_credited_token(tiny):
    """Credit for the first two tokens alone: nothing behind them is read, and nothing of the numbers changes."""
    data = batch(tiny, length=40)
    t = trainer(tiny, "first_tokens", share=0.05)
    step = before_updates(t, prepare(t, data, 0.5))
    reach = ((step.shaped != 0) * torch.arange(1, 41)).amax(1)
    parts = micro_batches(t, step)
    assert all(reach[part.rows].max() <= part.read.width < part.width for part in parts)
    assert tokens_read(t, data)[0] < tokens_read(reads_everything(trainer(tiny, "first_tokens", share=0.05)), data)[0]


def test_a_step_without_any_advantage_reads_one_response_and_moves_nothing(tiny):
    data = dataclasses.replace(dull(tiny), reward=torch.ones(12))
    t = trainer(tiny, "pepo")
    before = copy.deepcopy(t.policy.state_dict())
    found = update(t, before_updates(t, prepare(t, data, 0.5)), 1.0)
    assert (found.loss, found.grad_norm) == (0, 0) and sum(
        len(part.rows) for part in micro_batches(t, prepare(t, data, 0.5))
    ) == 1
    assert all(torch.equal(value, before[name]) for name, value in t.policy.state_dict().items())
    assert found.measured_tokens == int(data.responses.mask.sum())


# --- signals while sampling ---------------------------------------------------------------------------------------

OF_SEVERAL = [name for name in SHAPERS if SHAPERS[name].facts.scope != "response" and SHAPERS[name].facts.measured]


@pytest.mark.parametrize("shaper", OF_SEVERAL)
def test_signals_of_several_responses_are_those_of_a_pass_of_their_own(tiny, shaper):
    """Whatever sampling has told of them, nothing or all but the view of a degraded picture."""
    t = trainer(tiny, shaper)
    told, own = (before_updates(t, prepare(t, dull(tiny, measured), 0.5)) for measured in (True, False))
    for name, values in own.inputs.signals.values.items():
        torch.testing.assert_close(told.inputs.signals.values[name], values, atol=1e-5, rtol=0)
    torch.testing.assert_close(told.shaped, own.shaped, atol=1e-4, rtol=1e-4)
    one, other = (loss_and_gradient(trainer(tiny, shaper), dull(tiny, measured)) for measured in (True, False))
    assert_same(one, other)


def passes(t, data):
    """How often the policy reads the responses in a step."""
    seen = []
    t.policy.register_forward_hook(lambda *_: seen.append(1))
    update(t, before_updates(t, prepare(t, data, 0.5)), 0.0)
    return len(seen)


@pytest.mark.parametrize(("shaper", "told", "alone"), [
    ("high_entropy", 1, 2), ("gtpo", 1, 2), ("optimal_baseline", 1, 2), ("vppo", 2, 3), ("cgpo", 2, 3), ("vgpo", 2, 2)
])  # fmt: skip
def test_only_what_sampling_has_not_told_has_a_pass(tiny, shaper, told, alone):
    data = [batch(tiny, measured=measured) for measured in (True, False)]
    assert [passes(reads_everything(trainer(tiny, shaper)), one) for one in data] == [told, alone]


@pytest.mark.parametrize("loss", ["clip_cov", "kl_cov"])
def test_a_loss_that_selects_takes_what_sampling_told(tiny, loss):
    settings = {"share": 0.1, **({"lowest": 0.0, "highest": 50.0} if loss == "clip_cov" else {})}
    base = Base(loss=LOSSES[loss].factory(**settings))
    found = []
    for measured in (True, False):
        t = trainer(tiny, base=base)
        data = batch(tiny, measured=measured)
        found.append(before_updates(t, prepare(t, data, 0.5)).selected)
        assert passes(reads_everything(t), data) == (1 if measured else 2)
    assert torch.equal(*found)


class Elsewhere:
    """An engine that samples in the policy's place."""

    shared = True

    def __call__(self, policy, images, prompts, sampling, draws):
        raise AssertionError

    def sync(self, policy): ...


def test_signals_of_another_policy_another_sampler_or_half_precision_are_not_taken_for_the_policy_s_own(tiny):
    t = trainer(tiny, "high_entropy")
    assert t.draws_as_it_trains
    worker = t.collector.worker
    for other in ({"policy": copy.deepcopy(t.policy)}, {"sampler": Elsewhere()}):
        collector = dataclasses.replace(t.collector, worker=dataclasses.replace(worker, **other))
        assert not dataclasses.replace(t, collector=collector).draws_as_it_trains
    t.policy.to(torch.bfloat16)
    assert not t.draws_as_it_trains and passes(reads_everything(t), batch(t.policy)) == 2


# --- who is silent -------------------------------------------------------------------------------------------------


def silence(shaper="uniform", updates=1, **base):
    return Silence.of(SHAPERS[shaper].factory(), Base(**base), updates)


def test_only_a_loss_without_other_terms_is_silent():
    assert silence() == Silence(rows=True, tokens=True, rule=True)
    for term in ({"kl_beta": 0.1}, {"entropy_beta": 0.01}, {"entropy_beta": -0.01}, {"perception_gamma": 0.1}):
        assert silence(**term) == EVERYTHING


def test_a_ratio_of_the_whole_response_hands_gradient_to_tokens_without_credit():
    assert silence(ratio=Gspo()) == Silence(rows=True, tokens=False, rule=True)
    assert silence(ratio=GspoToken()).tokens


def test_a_loss_that_holds_back_what_moved_is_silent_only_where_nothing_has():
    assert silence(loss=KlCov()).rows and not silence(loss=KlCov(), updates=2).rows


def test_a_rule_that_gives_credit_without_an_advantage_is_not_silent():
    assert {name for name in ("uniform", "pepo", "vepo", "ar", "entropy") if silence(name).rule} == {
        "uniform", "pepo", "vepo", "ar", "entropy"
    }  # fmt: skip
    assert not silence("sharpen").rule and not silence("oracle_exact").rule


def test_a_rule_from_elsewhere_that_pays_for_surprise_is_read_everywhere(tiny, own_registrations):
    @SHAPERS.register("surprised", paper="none", needs=("logp",))
    @dataclasses.dataclass(frozen=True)
    class Surprised:
        def __call__(self, x):
            return torch.where(x.mask & (x.signals.logp < -3), 0.1, 0.0) + x.weighted(torch.ones(x.mask.shape))

    t = gradients(tiny, dull(tiny), shaper="surprised")
    assert not t.silence.rule and sum(len(part.rows) for part in micro_batches(t, prepare(t, dull(tiny), 0.5))) == 12


# --- several processes ---------------------------------------------------------------------------------------------


class Together(Accelerator):
    """One of two processes, which are threads."""

    device, num_processes, is_main_process, mixed_precision = torch.device("cpu"), 2, True, "no"
    process_index = 0

    def __init__(self, meeting, rank):
        self.meeting, self.process_index = meeting, rank

    def gather(self, tensor):
        return torch.cat(self.meeting.share(self.process_index, [tensor]))

    def reduce(self, tensor, reduction="sum"):
        return sum(self.meeting.share(self.process_index, [tensor]))

    def pad_across_processes(self, tensor, dim=0):
        return tensor


def half(data, rank):
    """The groups of a process: the first of three, or the others."""
    rows = (data.group == 0) == (rank == 0)
    kept = data.group[rows].unique()
    r = data.responses
    columns = (r.ids[rows], r.mask[rows], r.logp[rows], r.truncated[rows], r.row_of[rows] - kept[0])
    own = type(r)(*columns, {name: values[rows] for name, values in r.signals.items()})
    parts = {name: value[rows] for name, value in data.reward_parts.items()}
    return RolloutBatch(data.prompts.select(kept), own, data.group[rows], data.correct[rows], data.reward[rows], parts)


@pytest.mark.parametrize("micro_batch", [1, 64])
@pytest.mark.parametrize(("shaper", "updates"), [("pepo", 1), ("high_entropy", 1), ("pepo", 2), ("high_entropy", 2)])
def test_a_process_whose_groups_are_dull_goes_through_as_many_passes_and_adds_nothing(
    tiny, shaper, updates, micro_batch
):
    data = dull(tiny)
    alone = loss_and_gradient(trainer(tiny, shaper, updates=updates), data)
    meeting = Meeting(2)

    def run(rank):
        t = trainer(tiny, shaper, updates=updates, micro_batch=micro_batch)
        t = dataclasses.replace(t, accelerator=Together(meeting, rank))
        step = before_updates(t, prepare(t, half(data, rank), 0.5))
        parts = micro_batches(t, step)
        loss = sum(float(backward(t, step, part).loss) for part in parts)
        return loss, torch.cat([p.grad.flatten() for p in t.policy.parameters() if p.grad is not None]), len(parts)

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(run, range(2))
    assert one[2] == other[2] and not one[1].any()
    assert_same((one[0] + other[0], (one[1] + other[1])), alone)
