"""Every shaper against `uniform`, the shared layout against the plain one, and the release's way."""

from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from tqdm import tqdm

from credit_zoo.objective import shape
from credit_zoo.rollout import sample
from credit_zoo.speed.meter import Spread, allocated, in_turns, ratios
from credit_zoo.speed.pepo_baseline import ReleasePolicy
from credit_zoo.speed.workload import (
    Work,
    architecture,
    random_batch,
    random_policy,
    random_prompts,
    trainers,
    training_step,
    with_layout,
)
from credit_zoo.training import Trainer, measure_signals, prepare
from credit_zoo.types import RolloutBatch

PLAIN, RELEASE = "uniform, prompt read for each response", "pepo, signals as its release computes them"


def steps(work: Work) -> dict[str, Any]:
    """Medians and quartiles of seconds, ratios to `uniform`, and peak bytes; the parts of a step beside it."""
    policy = random_policy(architecture(work.model), work)
    data = random_batch(policy, work)
    made = trainers(
        {
            **{rule: (policy, rule) for rule in work.rules},
            PLAIN: (with_layout(policy, "plain"), "uniform"),
            RELEASE: (with_layout(policy, "plain", ReleasePolicy), "uniform"),
        },
        work,
    )
    jobs = {name: partial(training_step, trainer, data) for name, trainer in made.items()}
    rows = []
    for name, job in tqdm(jobs.items(), desc="contenders", leave=False):
        # Neighbours in time: each takes turns with uniform alone.
        taken = in_turns({"uniform": jobs["uniform"], name: job}, work.repeats)
        rows.append(
            {
                "name": name,
                "seconds": asdict(Spread.of(taken[name])),
                "ratio": asdict(ratios(taken, name, "uniform")),
                **asdict(allocated(job)),
            }
        )
    return {"rows": rows, "parts": parts(made["uniform"], made[work.rules[-1]], data, work)}


def parts(uniform: Trainer, shaped: Trainer, data: RolloutBatch, work: Work) -> list[dict[str, Any]]:
    """What a step is made of: sampling, scoring (no gradient), shaping, and the update, forward pass included."""
    policy, sampling = uniform.policy, uniform.collector.sampling
    prompts, draws = random_prompts(policy, work), torch.Generator().manual_seed(2)
    update_batch = prepare(shaped, data, 0.5)
    inputs, _ = measure_signals(shaped, update_batch)
    jobs = {
        "rollout": lambda: sample(policy, prompts, sampling, draws, measure=True),
        "scoring": lambda: measure_signals(shaped, update_batch),
        "shaping": lambda: shape(shaped.shaper, inputs),
        "update": lambda: training_step(uniform, data),
    }
    taken = in_turns(jobs, max(work.repeats // 3, 1))
    return [
        {"name": name, "seconds": asdict(Spread.of(taken[name])), "peak": allocated(job).peak}
        for name, job in jobs.items()
    ]
