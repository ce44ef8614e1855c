"""Whether the accelerator computes what the CPU does: losses of some steps, sampled tokens, kernels, collectives."""

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import nn

from credit_zoo.hardware.budget import Budget, Skipped
from credit_zoo.hardware.machine import Here
from credit_zoo.policy import ModelConfig, Policy, kernel_of, token_statistics
from credit_zoo.rollout import SamplingParams, sample
from credit_zoo.speed import Work, random_batch, random_prompts, trainers
from credit_zoo.training import before_updates, prepare, update

STEPS = 5
APART = 1e-3  # that losses may be apart
TESTS = ("tests/test_triton_kernels.py",)


def losses(here: Here, budget: Budget) -> dict[str, Any]:
    """The small model in float32, trained on the CPU and on the device with the same responses: the losses of some
    steps, and how many of a batch's sampled tokens are the same.
    """
    work = Work(prompts=4, group=4, tokens=16 if here.smallest else 48, micro_batch=8)
    with cpu_alone():
        policy = Policy.load(ModelConfig())
        theirs, said = _trained(copy.deepcopy(policy), work)
    ours, told = _trained(policy.to(here.device), work)
    apart = max(abs(one - other) for one, other in zip(ours, theirs, strict=True))
    if not apart <= APART:
        raise ArithmeticError(f"losses of {STEPS} steps are {apart:.2g} apart, more than {APART}: {ours} and {theirs}")
    same = (said == told).float().mean()
    return {"largest difference of losses": apart, "sampled tokens alike": float(same), "losses": ours}


def _trained(policy: Policy, work: Work) -> tuple[list[float], torch.Tensor]:
    prompts, draws = random_prompts(policy, work), torch.Generator().manual_seed(0)
    said = sample(policy, prompts, SamplingParams(work.group, max_tokens=work.tokens), draws).ids
    trainer, found = trainers({"pepo": (policy, "pepo")}, work)["pepo"], []
    for _ in range(STEPS):
        ready = before_updates(trainer, prepare(trainer, random_batch(policy, work), 0.5))
        found.append(update(trainer, ready, 1e-4).loss)
    return found, said


@contextmanager
def cpu_alone() -> Iterator[None]:
    """Inside, accelerators are not seen by what looks for one."""
    with mock.patch.object(torch.cuda, "is_available", lambda: False):
        yield


def kernels(here: Here, budget: Budget) -> dict[str, Any]:
    """Log-probability and gradient of every kernel of the language head against float64, with the seconds of each."""
    vocabulary, tokens, width = (5_000, 16, 32) if here.smallest else (151_936, 1024, 2048)
    torch.manual_seed(0)
    head = nn.Linear(width, vocabulary, bias=False, device=here.device, dtype=here.dtype)
    hidden = torch.randn(tokens, width, device=here.device, dtype=here.dtype, requires_grad=True)
    ids = torch.randint(0, vocabulary, (tokens,), device=here.device)
    exact = (hidden.double() @ head.weight.double().T).log_softmax(-1).gather(-1, ids[:, None])[:, 0].detach()
    found: dict[str, Any] = {}
    for name in ("torch", "compiled", "triton"):
        if name != "torch" and here.smallest:
            found[name] = {"status": "skipped", "why": "the smallest form compiles nothing"}
            continue
        found[name] = here.guarded_seconds(budget, partial(_head, hidden, head, ids, name), exact)
    return {"kernels": found, "sizes": [tokens, width, vocabulary]}


def _head(hidden: torch.Tensor, head: nn.Linear, ids: torch.Tensor, name: Any) -> torch.Tensor:
    logp = token_statistics(hidden, head, ids, kernel=kernel_of(name), at_once=2**26).logp
    logp.sum().backward()  # type: ignore[no-untyped-call]
    hidden.grad = head.weight.grad = None
    return logp.detach()


def collectives(here: Here, budget: Budget) -> dict[str, Any]:
    """The backend that several processes would speak through, in a world of this one."""
    backend = "nccl" if here.device.type == "cuda" else "gloo"
    if dist.is_initialized():
        raise Skipped("this process is in a group already")
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    try:
        one = torch.ones(8, device=here.device, dtype=torch.float64)
        many = [torch.empty_like(one)]
        dist.all_reduce(one)
        dist.all_gather(many, one)
        dist.barrier()
        if many[0].tolist() != [1.0] * 8:
            raise ArithmeticError(f"{backend} gathered {many[0].tolist()}, not ones")
    finally:
        dist.destroy_process_group()
    return {"backend": backend}


def tests(here: Here, budget: Budget) -> dict[str, Any]:
    """The tests of the repository that a device matters to, on it."""
    root = Path(__file__).parents[2]
    if here.device.type == "cpu" or not all((root / one).exists() for one in TESTS):
        raise Skipped("needs a GPU, and the repository's tests beside the package")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    limit = max(budget.left / 2, 1)
    done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, timeout=limit)
    if done.returncode:
        raise AssertionError(done.stdout[-2000:] + done.stderr[-500:])
    return {"told": done.stdout.strip().splitlines()[-1]}
