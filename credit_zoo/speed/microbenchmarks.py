"""The two computations that are ours alone: visual similarity, and statistics of tokens under a large vocabulary."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from credit_zoo.policy import Kernel, kernel_of, layer_similarity, token_statistics
from credit_zoo.speed import pepo_baseline
from credit_zoo.speed.meter import Job, Spread, allocated, in_turns, ratios

OURS, THEIRS = "ours", "the release's way"


def signals(repeats: int) -> dict[str, Any]:
    """For the eight responses to a picture, and for one alone."""
    return {"group": similarity(repeats, group=8), "alone": similarity(repeats, group=1)}


def similarity(
    repeats: int, group: int, tokens: int = 1024, image: int = 1024, width: int = 2048, layers: int = 4
) -> dict[str, Any]:
    """Visual similarity of some layers, one after the other, for the responses to one picture, its own share included.
    The states have just been written, as where a layer has ended.
    """
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    states = torch.randn(group, tokens, width, device=device)
    prompt = torch.randn(1, image, width, device=device)
    is_image = torch.ones(1, image, dtype=torch.bool, device=device)
    rows = torch.zeros(group, dtype=torch.int64, device=device)
    jobs: dict[str, Callable[[], Tensor]] = {
        OURS: lambda: layer_similarity(states, prompt, is_image, rows),
        THEIRS: lambda: torch.stack([pepo_baseline.similarity(one, prompt[0]) for one in states]),
    }
    whole = {name: partial(_repeated, job, layers) for name, job in jobs.items()}
    apart = float((jobs[OURS]() - jobs[THEIRS]()).abs().max())
    sizes = {"group": group, "tokens": tokens, "image tokens": image, "width": width, "layers": layers}
    return {
        **_against(whole, OURS, THEIRS, repeats, lambda: (prompt.neg_(), states.neg_())),
        "sizes": sizes,
        "largest difference": apart,
    }


def head(repeats: int, vocabulary: int = 151_936, tokens: int = 1024, width: int = 2048) -> dict[str, Any]:
    """Log-probability and entropy, without and with the gradient, against the whole matrix of logits."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    linear = nn.Linear(width, vocabulary, bias=False, device=device)
    nn.init.normal_(linear.weight, std=width**-0.5)
    hidden = torch.randn(tokens, width, device=device, requires_grad=True)
    ids = torch.randint(0, vocabulary, (tokens,), device=device)

    def ours(kernel: Kernel | None = None) -> Tensor:
        return token_statistics(hidden, linear, ids, temperature=0.9, kernel=kernel).logp

    def whole() -> Tensor:
        return pepo_baseline.statistics(hidden, linear, ids, 0.9, detach=True).logp

    def scored(way: Callable[[], Tensor]) -> Callable[[], object]:
        return torch.no_grad()(way)

    def trained(way: Callable[[], Tensor]) -> Callable[[], object]:
        def job() -> None:
            way().sum().backward()  # type: ignore[no-untyped-call]

        return job

    with torch.no_grad():
        apart = float((ours() - whole()).abs().max())
    linear.weight.grad, hidden.grad = torch.zeros_like(linear.weight), torch.zeros_like(hidden)
    ways: dict[str, Callable[[], Tensor]] = {OURS: ours, "whole matrix": whole}
    if device == "cuda":
        ways["ours, Triton"] = partial(ours, kernel_of("triton"))
    if device == "cuda" or shutil.which("g++"):
        ways["ours, compiled"] = partial(ours, kernel_of("compiled"))
    return {
        "scoring": _against({name: scored(way) for name, way in ways.items()}, OURS, "whole matrix", repeats),
        "training": _against({name: trained(way) for name, way in ways.items()}, OURS, "whole matrix", repeats),
        "weight gradient": 4 * vocabulary * width,
        "sizes": {"vocabulary": vocabulary, "tokens": tokens, "width": width},
        "largest difference": apart,
    }


def _repeated(job: Callable[[], object], times: int) -> None:
    for _ in range(times):
        job()


def _against(
    jobs: Mapping[str, Callable[[], object]], ours: str, theirs: str, repeats: int, before: Job = lambda: None
) -> dict[str, Any]:
    taken = in_turns(jobs, repeats, before)
    return {
        "seconds": {name: asdict(Spread.of(values)) for name, values in taken.items()},
        "faster": asdict(ratios(taken, theirs, ours)),
        "peak": {name: allocated(job).peak for name, job in jobs.items()},
    }
