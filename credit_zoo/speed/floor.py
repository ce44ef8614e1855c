"""Where the time of a step goes, against its floor: the arithmetic that must be done, at the rate of a plain product.

    floor of a phase = 2 x (weights that a token meets) x (tokens that must be read once) / (rate of a matrix product)

A token that is learned from is met three times, once forward and twice backward, a prompt once for its group, and a
picture by the vision tower forward alone, as it is frozen. Attention's own products, padding, and all that moves memory
or issues kernels are no part of a floor: they are what a phase is above it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from credit_zoo.policy import BatchLayout, Policy
from credit_zoo.rollout import sample
from credit_zoo.speed.meter import Spread, in_turns, seconds
from credit_zoo.speed.workload import (
    Work,
    architecture,
    random_batch,
    random_policy,
    random_prompts,
    trainers,
    training_step,
)
from credit_zoo.training import Trainer
from credit_zoo.types import RolloutBatch

PRODUCT = 2048  # sides of the matrices whose product tells the rate
TRIES = 9


@dataclass(frozen=True)
class Weights:
    """Weights that a token of text meets, head included, and that a patch of a picture meets."""

    text: int
    vision: int

    @classmethod
    def of(cls, policy: Policy) -> "Weights":
        vision = sum(parameter.numel() for parameter in policy.vision_parameters())
        embedded = policy.model.get_input_embeddings().weight.numel()
        every = sum(parameter.numel() for parameter in policy.model.parameters())
        head = policy.model.get_output_embeddings().weight
        # An embedding is looked up, and multiplied with only where it is the head as well.
        tied = head is policy.model.get_input_embeddings().weight
        return cls(every - vision - (0 if tied else embedded), vision)


def product_rate(dtype: str) -> float:
    """Operations a second of one large product, the best of some tries."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = (torch.randn(PRODUCT, PRODUCT, device=device, dtype=getattr(torch, dtype)) for _ in range(2))
    return 2 * PRODUCT**3 / min(seconds(lambda: left @ right) for _ in range(TRIES))


def floors(policy: Policy, data: RolloutBatch, rate: float) -> dict[str, float]:
    """Seconds of each phase at the rate."""
    weights, r = Weights.of(policy), data.responses
    prompts, responses = float(data.prompts.mask.sum()), float(r.mask.sum())
    patches = sum(float(one["pixel_values"].shape[0]) for one in data.prompts.vision)
    pictures = 2 * weights.vision * patches / rate
    each = 2 * weights.text / rate
    forward = each * (prompts + responses) + pictures
    return {
        "sampling: prompts": each * prompts + pictures,
        "sampling: tokens": each * responses,
        "training: forward": forward,
        "training: backward": 2 * each * (prompts + responses),
    }


def phases(work: Work) -> dict[str, Any]:
    """Seconds of every phase of a step of `uniform`, its share of the step, its floor, and how many times above."""
    policy = random_policy(architecture(work.model), work)
    data = random_batch(policy, work)
    (trainer,) = trainers({"uniform": (policy, "uniform")}, work).values()
    rate = product_rate(work.dtype)
    taken = {
        name: Spread.of(values).median for name, values in in_turns(_jobs(trainer, data, work), work.repeats).items()
    }
    found = {
        "sampling: prompts": taken["prompts"],
        "sampling: tokens": taken["rollout"] - taken["prompts"],
        "training: forward": taken["forward"],
        "training: backward": taken["training"] - taken["forward"] - taken["optimizer"],
        "training: optimizer": taken["optimizer"],
    }
    return {"rate": rate, "weights": asdict(Weights.of(policy)), "rows": _rows(found, floors(policy, data, rate))}


def _jobs(trainer: Trainer, data: RolloutBatch, work: Work) -> dict[str, Any]:
    policy, sampling, prompts = trainer.policy, trainer.collector.sampling, random_prompts(trainer.policy, work)
    rows = BatchLayout.of(data.prompts, data.responses).to(next(policy.parameters()).device)
    one = type(sampling)(sampling.group, max_tokens=1)

    def forward() -> None:
        for part in range(0, len(rows.row_of), work.micro_batch):
            some = slice(part, part + work.micro_batch)
            policy(BatchLayout(rows.prompts, rows.row_of[some], rows.response_ids[some], rows.mask[some]), 1.0)

    return {
        "prompts": lambda: sample(policy, prompts, one, torch.Generator().manual_seed(2)),
        "rollout": lambda: sample(policy, prompts, sampling, torch.Generator().manual_seed(2), measure=True),
        "forward": forward,
        "training": lambda: training_step(trainer, data),
        "optimizer": lambda: trainer.engine.step(1e-6, 1.0),
    }


def _rows(taken: Mapping[str, float], least: Mapping[str, float]) -> list[dict[str, Any]]:
    whole = sum(taken.values())
    return [
        {
            "name": name,
            "seconds": value,
            "share": value / whole,
            "floor": least.get(name),
            "above": value / least[name] if name in least else None,
        }
        for name, value in taken.items()
    ]
