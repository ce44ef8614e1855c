"""How time and memory of a training step grow with the length of responses, image, group and vocabulary."""

import copy
from dataclasses import replace
from typing import Any

from credit_zoo.speed.meter import allocated, exponent, in_turns
from credit_zoo.speed.workload import Work, architecture, random_batch, random_policy, trainers, training_step

LADDERS: dict[str, tuple[int, ...]] = {
    "response tokens": (32, 64, 128, 256),
    "image tokens": (36, 72, 144, 288),
    "responses to a prompt": (4, 8, 16, 32),
    "vocabulary": (672, 2688, 10752, 43008),
}


def growth(work: Work) -> dict[str, Any]:
    """Seconds (the least of a quarter of `repeats`, as noise only adds) and peak bytes of `pepo` at each rung, with the
    exponents of each ladder and of its last step.
    """
    small = replace(work, prompts=4, micro_batch=256)
    found = {}
    for name, rungs in LADDERS.items():
        times, peaks = [], []
        for size in rungs:
            job = _job(_sized(small, name, size), size if name == "vocabulary" else None)
            times.append(min(in_turns({"step": job}, max(work.repeats // 4, 1))["step"]))
            peaks.append(allocated(job).peak)
        found[name] = {
            "sizes": rungs,
            "seconds": times,
            "peak": peaks,
            "time exponent": exponent(rungs, times),
            "last step exponent": exponent(rungs[-2:], times[-2:]),
            "memory exponent": exponent(rungs, peaks),
        }
    return found


def _sized(work: Work, name: str, size: int) -> Work:
    if name == "image tokens":
        return replace(work, high=6, wide=size // 6)
    if name == "response tokens":
        return replace(work, tokens=size)
    return replace(work, group=size) if name == "responses to a prompt" else work


def _job(work: Work, vocabulary: int | None) -> Any:
    config = copy.deepcopy(architecture("small"))
    if vocabulary is not None:
        config.text_config.vocab_size = vocabulary
    policy = random_policy(config, work)
    trainer = trainers({"pepo": (policy, "pepo")}, work)["pepo"]
    data = random_batch(policy, work)
    return lambda: training_step(trainer, data)
