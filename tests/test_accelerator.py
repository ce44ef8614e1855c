"""What would break, or wait, on a GPU: the whole path of training on a pretend accelerator, against the CPU's numbers."""

import copy
import dataclasses
import traceback
from collections import Counter

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from families import FAMILIES, write
from PIL import Image
from pretend_accelerator import DEVICE, Alike, MixedDevices, Pretend, counting, on_device
from steps import Coin, Numbers, batch, collector, prompts, trainer
from torch import nn
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.checkpoint import checkpoint

from credit_zoo import masked
from credit_zoo.cli.arguments import parse
from credit_zoo.evaluation.harness import EvalConfig, measure
from credit_zoo.experiment.config import resolve
from credit_zoo.experiment.process_plan import exchanges
from credit_zoo.objective.base import Base
from credit_zoo.policy.export import weights_digest
from credit_zoo.policy.lora import merged
from credit_zoo.policy.policy import ModelConfig, Policy
from credit_zoo.questions.prompt_format import PromptConfig
from credit_zoo.registry import SHAPERS
from credit_zoo.rollout.sampling import BLOCK, LOOK_EVERY, SamplingParams, _block_sums, sample
from credit_zoo.rollout.worker import RolloutWorker
from credit_zoo.training.checkpoints import TrainingState, latest, save
from credit_zoo.training.engine import torch_engine
from credit_zoo.training.loop import _updates, train_policy
from credit_zoo.training.step import micro_batches, prepare

# Every way to measure, look and draw there is; the others are made of the same.
RULES = ("uniform", "pepo", "high_entropy", "random_sparse", "permuted(pepo)", "position_only(entropy)")
ALL_RULES = [name for name in SHAPERS if not SHAPERS[name].facts.truth and name not in RULES]


def ours():
    """The line of this package that a synchronisation comes from, or that of the library."""
    for frame in reversed(traceback.extract_stack()):
        if "/credit_zoo/" in frame.filename or "/transformers/" in frame.filename:
            return f"{frame.filename}:{frame.lineno}"
    return ""


def own_waits(counts):
    """Those of this package; transformers has its own, in positions, masks and vision towers."""
    return sum(number for place, number in counts.places.items() if "/credit_zoo/" in place)


def moved(policy):
    """A copy of a policy on the device."""
    return on_device(copy.deepcopy(policy))


@pytest.fixture
def device(monkeypatch):
    """Accelerators that are made in the test are of the device."""
    monkeypatch.setattr(Accelerator, "device", DEVICE)


# --- the pretend accelerator itself --------------------------------------------------------------------------------


def test_devices_do_not_mix_but_for_numbers_and_indices():
    x = torch.ones(3, 4, device=DEVICE)
    assert x.device == DEVICE and (x + torch.tensor(2.0)).device == DEVICE
    with pytest.raises(MixedDevices, match=r"aten\.add"):
        x + torch.ones(4)
    with pytest.raises(MixedDevices):
        nn.Linear(4, 4)(x)
    with pytest.raises(TypeError, match="numpy"):
        x.numpy()
    assert torch.equal(x[torch.tensor([0, 2])].cpu(), torch.ones(2, 4))


@pytest.mark.parametrize(("job", "count"), [
    (lambda x: x.sum().item(), 1),
    (lambda x: bool((x > 0).any()), 1),
    (lambda x: x.tolist(), 1),
    (lambda x: x.cpu(), 1),
    (lambda x: x.nonzero(), 1),
    (lambda x: x[x > 0], 1),
    (lambda x: x.unique(), 1),
    (lambda x: x.__setitem__(x > 0, x.clone()), 1),
    (lambda x: torch.where(x > 0, x, 0.0), 0),
    (lambda x: x.masked_fill(x > 0, 1.0), 0),
    (lambda x: x[torch.tensor([0], device=DEVICE)], 0),
    (lambda x: x.sort().values.cumsum(0), 0),
])  # fmt: skip
def test_what_a_host_waits_for(job, count):
    x = torch.arange(4.0, device=DEVICE) + 1
    with counting() as counts:
        job(x)
    assert counts.waits == count


def test_copies_of_the_hosts_memory_are_counted():
    x = torch.ones(3, device=DEVICE)
    with counting() as counts:
        torch.ones(3).to(DEVICE), x.new_tensor(2.0), torch.tensor([1, 2], device=DEVICE)
    assert counts.copies_to_device.total() == 3
    with counting() as counts:
        torch.zeros(3, device=DEVICE), torch.full((2,), 7, device=DEVICE), torch.arange(5, device=DEVICE), x + 2
    assert counts.copies_to_device.total() == 0


def test_gradients_are_those_of_the_cpu_in_autograds_thread_too():
    layer = nn.Linear(4, 3)
    twin, x = on_device(copy.deepcopy(layer)), torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    layer(x).tanh().sum().backward()
    checkpoint(lambda rows: twin(rows).tanh(), x.to(DEVICE), use_reentrant=False).sum().backward()
    torch.testing.assert_close(twin.weight.grad.cpu(), layer.weight.grad)


# --- sampling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"top_k": 20}, {"top_p": 0.8}, {"temperature": 0.0}, {"temperature": 0.7}])
def test_responses_are_those_of_the_cpu(tiny, settings):
    """Looking for the end less often changes none of them; one token in ten is an end."""
    asked, sampling = prompts(tiny), SamplingParams(**{"group": 4, "max_tokens": 21, **settings})
    stops = tuple(range(10, 50))
    policies = (ending(tiny, stops), ending(moved(tiny), stops))
    here, there = (sample(one, asked, sampling, torch.Generator().manual_seed(0)) for one in policies)
    assert torch.equal(here.ids, there.ids) and torch.equal(here.mask, there.mask)
    assert torch.equal(here.truncated, there.truncated) and there.ids.device.type == "cpu"
    torch.testing.assert_close(here.logp, there.logp, atol=1e-5, rtol=0)
    assert settings or (not here.truncated.all() and here.truncated.any())


def ending(policy, stops):
    """The policy with other tokens that end a response."""
    return Policy(policy.model, dataclasses.replace(policy.encoder, stops=stops), policy.settings)


def test_sampling_waits_once_in_some_tokens_whatever_the_length(tiny):
    """transformers in it; every prompt is padded but one, so that no mask may be left out."""
    policy, waits, copies = ending(moved(tiny), (tiny.model.config.get_text_config().vocab_size,)), [], []
    for length in (LOOK_EVERY, 5 * LOOK_EVERY):
        with counting(ours) as counts:
            sample(policy, prompts(tiny), SamplingParams(4, max_tokens=length), torch.Generator().manual_seed(0))
        waits.append(counts.waits)
        copies.append(counts.copies_to_device.total())
    assert waits[1] - waits[0] == 4 and copies[0] == copies[1]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "gemma3" else pytest.mark.slow) for name in FAMILIES]
)
def test_no_family_waits_once_a_token(tmp_path, name):
    """With windows that are shorter than what is read, too; transformers would look at each mask. Beside padded rows
    and without.
    """
    loaded = Policy.load(ModelConfig(path=str(write(name, tmp_path / name))))
    here = ending(loaded, (loaded.model.config.get_text_config().vocab_size,))
    there, pictured = moved(here), Image.new("RGB", (60, 60), (200, 30, 60))
    for texts in (("find the area of the side", "find"), ("find the area",)):
        asked, waits = here.encoder.prompts([(pictured, text) for text in texts]), []
        for length in (LOOK_EVERY, 3 * LOOK_EVERY):
            drawn = SamplingParams(4, max_tokens=length)
            with counting() as counts:
                found = sample(there, asked, drawn, torch.Generator().manual_seed(0))
            waits.append(counts.waits)
        assert waits[1] - waits[0] == 2
        assert torch.equal(found.ids, sample(here, asked, drawn, torch.Generator().manual_seed(0)).ids)


@pytest.mark.parametrize("vocabulary", [1, BLOCK - 1, BLOCK, BLOCK + 1, 40 * BLOCK + 7])
def test_sums_over_blocks_are_those_of_each_block_alone(vocabulary):
    p = torch.rand(3, vocabulary, generator=torch.Generator().manual_seed(0))
    alone = [p[:, start : start + BLOCK].sum(-1, dtype=torch.float64) for start in range(0, vocabulary, BLOCK)]
    assert torch.equal(_block_sums(p), torch.stack(alone, dim=1))


def test_a_draw_from_a_large_vocabulary_is_a_few_operations():
    with counting() as counts:
        _block_sums(torch.ones(2, 151_936, device=DEVICE))
    assert counts.operations.total() <= 40


# --- a step --------------------------------------------------------------------------------------------------------


# They look token ids up, or draw by them, which no tensor of a known size can hold.
OF_IDS = {"ktae", "random", "siblings", "tpae"}


def stepped(policy, data, rule, updates=1, size=0, base=None, **settings):
    """One step with a rate that shows a difference: what it measured, the weights, the trainer."""
    torch.manual_seed(0)  # of adapters
    base = base or Base(kl_beta=settings.pop("kl_beta", 0.0))
    made = Policy(policy.model, policy.encoder, dataclasses.replace(policy.settings, **settings))
    t = trainer(made, rule, micro_batch=2, updates=updates, base=base)
    t = dataclasses.replace(t, reference=policy if base.kl_beta else None)
    if size:
        t = dataclasses.replace(t, accelerator=Alike(size))
        t.engine.accelerator = t.accelerator
    with counting(ours) as counts:
        found = _updates(t, prepare(t, data, 0.5), 1.0, False)[-1]
    weights = torch.cat([p.detach().cpu().float().flatten() for p in t.policy.parameters()])
    return found, weights, counts, t


@pytest.mark.parametrize(("rule", "settings"), [
    *((rule, {}) for rule in RULES),
    *(pytest.param(rule, {}, marks=pytest.mark.slow) for rule in ALL_RULES),
    ("pepo", {"layout": "plain"}),
    ("pepo", {"gradient_checkpointing": True}),
    ("pepo", {"layout": "plain", "gradient_checkpointing": True}),
    ("pepo", {"updates": 2, "kl_beta": 0.1}),
    ("uniform", {"lora_rank": 4}),
])  # fmt: skip
def test_a_step_is_the_cpus_and_waits_a_counted_number_of_times(tiny, device, monkeypatch, rule, settings):
    data = batch(tiny, count=2, group=3, length=8)
    found, weights, counts, t = stepped(moved(tiny), data, rule, **settings)
    monkeypatch.undo()
    expected, theirs, _, _ = stepped(copy.deepcopy(tiny), data, rule, **settings)
    torch.testing.assert_close(weights, theirs, atol=1e-4, rtol=1e-3)
    assert found.loss == pytest.approx(expected.loss, abs=1e-5) and found.grad_norm > 0
    assert found.spread.std == pytest.approx(expected.spread.std, abs=1e-4)
    each = settings.get("updates", 1) + t.two_pass + bool(t.facts.views)
    passes = len(micro_batches(t, prepare(t, data, 0.5))) * each
    own = 30 if rule in OF_IDS else 0
    assert own_waits(counts) <= 7 * passes + 20 * settings.get("updates", 1) + own


def test_mask_arithmetic_copies_nothing_and_waits_for_nothing():
    x, mask = torch.randn(3, 5, device=DEVICE), torch.ones(3, 5, dtype=torch.bool, device=DEVICE)
    with counting() as counts:
        masked.minmax(x, mask), masked.softmax(x, mask), masked.std(x, mask), masked.fill(x, mask, -torch.inf)
    assert counts.waits == counts.copies_to_device.total() == 0


def test_a_bfloat16_policy_samples_and_steps(tiny, device):
    half = moved(tiny.to(torch.bfloat16))
    assert sample(half, prompts(tiny), SamplingParams(2, max_tokens=9), torch.Generator().manual_seed(0)).ids.any()
    assert stepped(half, batch(tiny), "pepo")[0].grad_norm > 0


# --- the loop, saves, measuring, export ----------------------------------------------------------------------------


def whole_run(policy, steps=3):
    t = trainer(policy, "pepo")
    t = dataclasses.replace(t, engine=torch_engine(t.accelerator, t.policy, 1e-2, 0.1))
    train = dataclasses.replace(t.train, steps=steps)
    return dataclasses.replace(t, collector=collector(t.policy, t.base), train=train)


def test_the_loop_its_saves_and_what_goes_on_from_them_are_the_cpus(tiny, tmp_path, device, monkeypatch):
    questions, reports = Numbers((2, 3)), []
    t = whole_run(moved(tiny))
    kept = {}

    def report(step, following):
        reports.append(step)
        if step.step == 2:
            save(tmp_path, TrainingState(following, tuple(reports), 1.0), t.engine.state(), keep=1)
            kept["next"] = following

    train_policy(t, questions, 0, report)
    again, saved = whole_run(moved(tiny)), latest(tmp_path)
    with torch.no_grad():
        for name, parameter in again.policy.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(saved.state[f"weight/{name}"])
    again.engine.load(saved.state)
    resumed = []
    train_policy(again, questions, 0, lambda step, _: resumed.append(step), (2, kept["next"]))
    assert resumed[0].loss == reports[2].loss and resumed[0].grad_norm == reports[2].grad_norm
    monkeypatch.undo()
    theirs = []
    train_policy(whole_run(tiny), questions, 0, lambda step, _: theirs.append(step))
    for one, other in zip(reports, theirs, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-4) and one.reward == other.reward
        assert one.entropy == pytest.approx(other.entropy, abs=1e-4)


def test_measuring_and_exported_weights_are_the_cpus(tiny):
    asked, settings = [Numbers((2, 3))[k] for k in range(3)], EvalConfig(samples=2, max_tokens=9)
    there = moved(tiny)
    results = [
        measure(RolloutWorker(policy, Coin(), PromptConfig(style="short")), asked, settings, "x")
        for policy in (tiny, there)
    ]
    assert results[0].accuracy == results[1].accuracy and weights_digest(tiny) == weights_digest(there)
    # transformers asks for the memory behind the weights when it writes a checkpoint, which a wrapper has none of.
    one, other = (merged(policy.model) for policy in (tiny, there))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name].cpu()) for name in one)


# --- many processes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "base"), [
    *((rule, "grpo") for rule in ("uniform", "pepo", "high_entropy", "position_only(entropy)")),
    *(("siblings", base) for base in ("clip_cov", "reinforce_pp", "papo")),
])  # fmt: skip
def test_collectives_are_handed_tensors_of_the_device_in_one_piece(tiny, device, rule, base):
    """`Alike` raises otherwise. All processes hand in as much: rows are grown to the fullest before. A dry run foretells
    every one of them.
    """
    data = batch(tiny, count=2, group=3, length=8)
    config = resolve(parse([f"shaper={rule}", f"base={base}", "sampling.max_tokens=8"]))
    made = dataclasses.replace(config.base, overlong_filter=False, kl_beta=0.0)
    found, _, _, t = stepped(moved(tiny), data, rule, base=made, size=2)
    foretold = Counter()
    for one in exchanges(config, t.facts, rows=6):
        foretold[one.kind, one.shape] += one.times
    assert Counter((kind, shape) for kind, shape, _ in t.accelerator.handed) == foretold and found.grad_norm > 0


def test_gradients_that_ddp_shares_are_the_devices(tiny, device, monkeypatch):
    """A process group that shares nothing, under DDP: the buckets that a backend would be handed."""
    data, handed = batch(tiny), []
    t = trainer(moved(tiny), "pepo", micro_batch=3)
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        wrapped = nn.parallel.DistributedDataParallel(t.policy, init_sync=False)

        def share(_, bucket):
            handed.append(bucket.buffer())
            done = torch.futures.Future()
            done.set_result(bucket.buffer())
            return done

        wrapped.register_comm_hook(None, share)
        monkeypatch.setattr(Accelerator, "no_sync", lambda _, model: model.no_sync())
        t.engine.module = wrapped
        _updates(t, prepare(t, data, 0.5), 1.0, False)
    finally:
        dist.destroy_process_group()
    trained = sum(p.numel() for p in t.policy.parameters() if p.requires_grad)
    assert all(isinstance(one, Pretend) for one in handed) and sum(one.numel() for one in handed) == trained
