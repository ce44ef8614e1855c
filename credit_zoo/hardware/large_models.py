"""Models of the size that is trained, with random weights: memory against the plan, seconds by phase, ways compared.

A phase that would not fit is left out, and says so; what the plan foretells stands beside what was taken.
"""

import gc
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from credit_zoo.hardware.budget import Budget, Skipped, guarded
from credit_zoo.hardware.machine import Here
from credit_zoo.policy import ModelConfig, Policy, Sizes, sizes
from credit_zoo.rollout import sample
from credit_zoo.speed import (
    ReleasePolicy,
    Work,
    architecture,
    random_batch,
    random_policy,
    random_prompts,
    trainers,
    training_step,
    with_layout,
)
from credit_zoo.training import (
    Trainer,
    backward,
    before_updates,
    measure_signals,
    memory_forecast,
    micro_batches,
    prepare,
)
from credit_zoo.types import RolloutBatch

GIB = 2**30
ROOM = 0.85  # of the memory that is free, for what a phase is foretold to take


def work_of(here: Here, model: str) -> Work:
    """A step's share of one GPU under PEPO's budget: 8 responses to a picture of 640 x 480."""
    if here.smallest:
        return Work(prompts=2, group=2, tokens=8, high=2, wide=2, micro_batch=4, repeats=1, shapers="pepo")
    dtype = str(here.dtype).removeprefix("torch.")
    return Work(
        model=model, prompts=1, group=8, tokens=512, high=17, wide=23, micro_batch=8, dtype=dtype, checkpointing=True
    )


def models(here: Here, budget: Budget, model: str) -> dict[str, Any]:
    """One model: what its weights, a scoring pass, a gradient and an update take."""
    work = work_of(here, model)
    before = _held()
    policy = random_policy(architecture(work.model), work)
    policy = policy.to(here.device)
    data, counted = random_batch(policy, work), sizes(ModelConfig(path=work.model), work.model)
    if counted is None:
        raise Skipped(f"no configuration named {model} is kept")
    made = trainers(
        {
            "uniform": (policy, "uniform"),
            "pepo": (policy, "pepo"),
            "uniform, prompt read for each response": (with_layout(policy, "plain"), "uniform"),
            "pepo, signals as its release computes them": (with_layout(policy, "plain", ReleasePolicy), "uniform"),
        },
        work,
    )
    held = (_held() - before) / GIB
    jobs: dict[str, Callable[[], object]] = {"sampling": partial(_sampled, policy, made["uniform"], work)}
    for name, trainer in made.items():
        jobs[f"scoring, {name}"] = partial(measure_signals, trainer, prepare(trainer, data, 0.5))
        jobs[f"gradient, {name}"] = partial(_gradient, trainer, data)
    foretold = _foretold(counted, here)
    phases = {name: _phase(here, budget, job) for name, job in jobs.items()}
    phases["update, pepo"] = _update(here, budget, made["pepo"], data, foretold["update"])
    tokens = work.prompts * work.group * work.tokens
    return {"held GiB": held, "foretold GiB": foretold, "tokens": tokens, "phases": phases}


def _foretold(counted: Sizes, here: Here) -> dict[str, float]:
    """GiB that the plan has for one GPU: weights alone, and all that an update holds, activations aside."""
    width = 4 if here.dtype == torch.float32 else 2
    return {
        "weights": counted.parameters * width / GIB,
        "update": memory_forecast(counted, width, stage=0, processes=1, offload="none"),
    }


def _held() -> int:
    gc.collect()
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else 0


def _phase(here: Here, budget: Budget, job: Callable[[], object]) -> Mapping[str, Any]:
    if budget.left <= 0:
        return {"status": "skipped", "why": "the budget's seconds are over"}
    return guarded(lambda: here.measured(budget, job))


def _update(here: Here, budget: Budget, trainer: Trainer, data: RolloutBatch, needed: float) -> Mapping[str, Any]:
    """A whole step with the optimizer, where its state fits."""
    if here.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info()
        fits = ROOM * (free + torch.cuda.memory_reserved()) / GIB
        if needed > fits:
            return {"status": "skipped", "why": f"needs {needed:.0f} GiB, and {fits:.0f} are there for it"}
    return _phase(here, budget, partial(training_step, trainer, data))


def _gradient(trainer: Trainer, data: RolloutBatch) -> None:
    """Forward and backward of a step, without the optimizer."""
    trainer.policy.train(trainer.policy.settings.gradient_checkpointing)
    ready = before_updates(trainer, prepare(trainer, data, 0.5))
    for part in micro_batches(trainer, ready):
        backward(trainer, ready, part)
    trainer.engine.zero_grad()


def _sampled(policy: Policy, trainer: Trainer, work: Work) -> None:
    sample(policy, random_prompts(policy, work), trainer.collector.sampling, torch.Generator().manual_seed(0))
