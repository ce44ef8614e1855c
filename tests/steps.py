"""Batches of a training step made by hand, for the tests of policy and loop."""

import copy
import dataclasses
import threading

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image

from credit_zoo.objective.base import Base
from credit_zoo.objective.rewards import Reward
from credit_zoo.policy.policy import Policy
from credit_zoo.question import Question, Score, Source
from credit_zoo.questions.prompt_format import PromptConfig
from credit_zoo.registry import SHAPERS
from credit_zoo.rollout.measured_responses import MeasuredResponses
from credit_zoo.rollout.sampling import SamplingParams, sample
from credit_zoo.rollout.worker import RolloutWorker
from credit_zoo.training.engine import TorchEngine
from credit_zoo.training.rollout_collection import Collector
from credit_zoo.training.step import backward, before_updates, micro_batches, prepare
from credit_zoo.training.train_config import TrainConfig
from credit_zoo.training.trainer import Trainer
from credit_zoo.types import Prompts, Responses, RolloutBatch


def pictures(count, side=84):
    """Pictures of noise, all different."""
    return [
        Image.fromarray(np.random.default_rng(k).integers(0, 255, (side, side, 3), dtype=np.uint8))
        for k in range(count)
    ]


def prompts(policy: Policy, count=3):
    """Prompts of unequal lengths with a picture each."""
    texts = ["find the area" + " of the side" * k for k in range(count)]
    return policy.encoder.prompts(list(zip(pictures(count), texts, strict=True)))


def responses(policy: Policy, count=3, group=4, length=12, seed=0, measured=True):
    """Sampled responses of unequal lengths, `measured` while they were drawn; a gap in the mask, because a mask need not
    be a prefix.
    """
    sampling, draws = SamplingParams(group, max_tokens=length), torch.Generator().manual_seed(seed)
    drawn = sample(policy, prompts(policy, count), sampling, draws, measure=True)
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (len(drawn.ids),), generator=generator)
    mask = torch.arange(length) < lengths[:, None]
    mask[0, 1:2] = False
    found = (drawn.ids, mask, drawn.logp * mask, torch.zeros(len(mask), dtype=torch.bool), drawn.row_of)
    if not measured:
        return Responses(*found)
    return MeasuredResponses(*found, {name: values * mask for name, values in drawn.signals.items()})


def batch(policy: Policy, **settings) -> RolloutBatch:
    """A step's batch with rewards drawn at random."""
    found = responses(policy, **settings)
    reward = torch.rand(len(found.ids), generator=torch.Generator().manual_seed(1)).round(decimals=1)
    return RolloutBatch(
        prompts(policy, settings.get("count", 3)), found, found.row_of, reward, reward, {"accuracy": reward}
    )


class Coin:
    """A benchmark of its own: an answer is right if its length divides by the number in the question."""

    twin = None

    def load(self, split, data, skip_bad=False):
        raise AssertionError("has no files")

    def prompt(self, question):
        return question.text

    def score(self, question, response):
        return Score(float(len(response) % int(question.answer) == 0), response, True)


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Questions whose answers go round: 1 is always right, so its prompts are dull."""

    cycle: tuple[int, ...]
    source = Source("coin", True, "v1", 0)

    def __getitem__(self, index):
        return Question(f"q{index}", pictures(1)[0], "find the area", str(self.cycle[index % len(self.cycle)]), "text")


def collector(policy, base, prompts=2):
    worker = RolloutWorker(policy, Coin(), PromptConfig(style="short"), measure=True)
    return Collector(worker, base, SamplingParams(group=6, max_tokens=8), Reward(), prompts)


def trainer(
    policy: Policy,
    shaper="uniform",
    micro_batch=64,
    base=None,
    updates=1,
    shaper_schedule="none",
    micro_tokens=0,
    **settings,
) -> Trainer:
    """A trainer around a copy of the policy, on the CPU."""
    policy = copy.deepcopy(policy).eval()
    base = base or Base()
    made = SHAPERS[shaper].factory(**settings)
    train = TrainConfig(
        steps=4,
        micro_batch=micro_batch,
        micro_tokens=micro_tokens,
        updates=updates,
        shaper_schedule=shaper_schedule,
        lr=1e-3,
    )
    accelerator = Accelerator(cpu=True)
    trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
    engine = TorchEngine(
        policy, torch.optim.SGD(trained.values()), accelerator, tuple(trained), *[tuple(trained.values())] * 2
    )
    return Trainer(policy, engine, accelerator, None, made, base, train, collector(policy, base))


def loss_and_gradient(t: Trainer, data: RolloutBatch, progress=0.5):
    """The step's loss and its gradient as one vector, without an optimizer step."""
    update_batch = before_updates(t, prepare(t, data, progress, given=given(t, data)))
    loss = sum(float(backward(t, update_batch, part).loss) for part in micro_batches(t, update_batch))
    gradient = torch.cat([p.grad.flatten() for p in t.policy.parameters() if p.grad is not None])
    return loss, gradient


def given(t: Trainer, data: RolloutBatch):
    """Stand-ins for what only a twin tells, which follow from the tokens alone."""
    ids = data.responses.ids
    made = {"truth_advantage": ids.float().sin(), "truth_role": ids % 4 - 1.0, "truth_error": (ids % 5 == 0).float()}
    return {name: values for name, values in made.items() if name in t.facts.truth}


def reordered(data: RolloutBatch, order) -> RolloutBatch:
    """The same responses in another order."""
    r = data.responses
    rows = (r.ids[order], r.mask[order], r.logp[order], r.truncated[order], r.row_of[order])
    moved = MeasuredResponses(*rows, {name: values[order] for name, values in r.signals.items()})
    parts = {name: value[order] for name, value in data.reward_parts.items()}
    return RolloutBatch(data.prompts, moved, data.group[order], data.correct[order], data.reward[order], parts)


def wider(data: RolloutBatch, pad_token: int, left=8, right=8) -> RolloutBatch:
    """The same responses with more padding before the prompts and behind the responses."""
    pad = torch.nn.functional.pad
    p, r = data.prompts, data.responses
    more = Prompts(pad(p.ids, (left, 0), value=pad_token), pad(p.mask, (left, 0)), p.vision)
    rows = (pad(r.ids, (0, right), value=pad_token), pad(r.mask, (0, right)), pad(r.logp, (0, right)))
    signals = {name: pad(values, (0, right)) for name, values in r.signals.items()}
    grown = MeasuredResponses(*rows, r.truncated, r.row_of, signals)
    return RolloutBatch(more, grown, data.group, data.correct, data.reward, data.reward_parts)


class Meeting:
    """Threads that put their lists together, as processes do."""

    def __init__(self, size):
        self.barrier, self.said = threading.Barrier(size), {}

    def share(self, rank, own):
        self.said[rank] = own
        self.barrier.wait(60)
        everywhere = [one for k in sorted(self.said) for one in self.said[k]]
        self.barrier.wait(60)
        return everywhere
