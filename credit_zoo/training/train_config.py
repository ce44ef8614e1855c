"""The schedule of training: how many steps of how much, at which learning rate."""

import math
from dataclasses import dataclass, field
from typing import Literal

from credit_zoo.errors import UsageError, check_range
from credit_zoo.objective import ShaperSchedule
from credit_zoo.policy import Patches, View


@dataclass(frozen=True)
class TrainConfig:
    """The schedule. `prompts` per step over all processes; `updates` per rollout; at most `micro_batch` responses and
    `micro_tokens` tokens, prompts and padding included, are read at once (0: any number), and at most `rollout_tokens`
    are sampled at once, which changes memory and nothing else; `shaper_schedule` blends the shaper in over training.
    `view` is what rules that compare the policy with itself look at: patches, noise, swapped or no_picture.
    """

    steps: int = 100  # rollouts, each followed by train.updates optimizer steps
    prompts: int = 16  # per step, over all processes
    updates: int = 1  # optimizer steps on each rollout
    micro_batch: int = 64  # responses read at once; memory alone depends on it
    micro_tokens: int = 0  # tokens read at once, prompts and padding included; 0: any number
    rollout_tokens: int = 65_536  # tokens sampled at once, prompts included; memory alone depends on it
    lr: float = 1e-6  # learning rate at its highest
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"  # how the rate falls over the steps
    warmup: int = 0  # steps over which the rate rises
    weight_decay: float = 0.0  # of AdamW, per step and unit of the rate
    max_grad_norm: float = 1.0  # to which the gradient is clipped
    shaper_schedule: ShaperSchedule = "none"  # none: the rule at once; linear: from uniform to the rule's weights
    view: View = field(default_factory=Patches)  # of the picture, degraded, for rules that look at one: a name

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "updates", "micro_batch", "rollout_tokens"):
            check_range(f"train.{name}", getattr(self, name), 1)
        check_range("train.micro_tokens", self.micro_tokens, 0)
        check_range("train.lr", self.lr, 0)
        check_range("train.weight_decay", self.weight_decay, 0)
        check_range("train.warmup", self.warmup, 0)
        check_range("train.max_grad_norm", self.max_grad_norm, 0, open_low=True)
        for name, options in (
            ("shaper_schedule", ("none", "linear")),
            ("lr_schedule", ("constant", "linear", "cosine")),
        ):
            if getattr(self, name) not in options:
                raise UsageError(f"train.{name} must be one of {', '.join(options)}, got {getattr(self, name)!r}")

    def rate(self, step: int) -> float:
        """The factor on `lr` at a step."""
        done = step / self.steps
        falls = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
        return min(1.0, (step + 1) / (self.warmup + 1)) * falls[self.lr_schedule]
