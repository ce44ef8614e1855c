"""What attends, and what samples: each back end that is there, on the shapes of the models that are trained."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from credit_zoo.hardware.budget import Budget, Skipped, guarded
from credit_zoo.hardware.large_models import work_of
from credit_zoo.hardware.machine import Here
from credit_zoo.policy import SMALL_MODEL, Policy
from credit_zoo.rollout import SamplingParams, sample
from credit_zoo.speed import architecture, random_policy, random_prompts, seconds

BACK_ENDS = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}


def attention(here: Here, budget: Budget) -> dict[str, Any]:
    """Forward and backward of torch's back ends, causal and, as padded prompts want it, with a mask; a back end that
    does not take a mask fails there.
    """
    rows, heads, length, width = (2, 2, 16, 8) if here.smallest else (8, 16, 1024, 128)
    torch.manual_seed(0)
    parts = [torch.randn(rows, heads, length, width, device=here.device, dtype=here.dtype) for _ in range(3)]
    query, key, value = (part.requires_grad_() for part in parts)
    mask = torch.ones(rows, 1, length, length, dtype=torch.bool, device=here.device).tril()
    found: dict[str, Any] = {}
    with torch.no_grad():
        exact = scaled_dot_product_attention(query.double(), key.double(), value.double(), is_causal=True)
    for name, back_end in BACK_ENDS.items():
        for masked in (False, True):

            def job(back_end: SDPBackend = back_end, masked: bool = masked) -> Tensor:
                with sdpa_kernel(back_end):
                    options: dict[str, Any] = {"attn_mask": mask} if masked else {"is_causal": True}
                    out = scaled_dot_product_attention(query, key, value, **options)
                out.sum().backward()  # type: ignore[no-untyped-call]
                return out.detach()

            found[f"{name}, {'with a mask' if masked else 'causal'}"] = here.guarded_seconds(budget, job, exact)
    return {"back ends": found, "sizes": [rows, heads, length, width]}


def sampling(here: Here, budget: Budget, model: str) -> dict[str, Any]:
    """Tokens a second of the package's own loop, of the same with a compiled decoder, and of vLLM."""
    ways = {"own loop": _own_loop, "own loop, compiled": _compiled, "vllm": _vllm}
    return {"tokens a second": {name: guarded(partial(way, here, model)) for name, way in ways.items()}}


def _rate(here: Here, policy: Policy, model: str) -> dict[str, Any]:
    work = work_of(here, model)
    asked = SamplingParams(8 if here.smallest else 64, max_tokens=8 if here.smallest else 128)
    prompts = random_prompts(policy, work)

    def job() -> None:
        sample(policy, prompts, asked, torch.Generator().manual_seed(0))

    job()
    return {"rate": len(prompts) * asked.group * asked.max_tokens / seconds(job)}


def _own_loop(here: Here, model: str) -> dict[str, Any]:
    work = work_of(here, model)
    return _rate(here, random_policy(architecture(work.model), work).to(here.device), model)


def _compiled(here: Here, model: str) -> dict[str, Any]:
    if here.smallest:
        raise Skipped("the smallest form compiles nothing")
    work = work_of(here, model)
    policy = random_policy(architecture(work.model), work).to(here.device)
    policy.decoder.forward = torch.compile(policy.decoder.forward, dynamic=True)
    return _rate(here, policy, model)


def _vllm(here: Here, model: str) -> dict[str, Any]:
    """An engine with random weights of the same configuration, asked with words alone."""
    try:
        import vllm  # noqa: F401
    except ImportError:
        raise Skipped("vllm is not installed") from None
    from transformers import AutoTokenizer

    from credit_zoo.rollout import Request, VllmEngine

    config, asked = architecture(work_of(here, model).model), SamplingParams(64, max_tokens=128)
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        AutoTokenizer.from_pretrained(SMALL_MODEL).save_pretrained(folder)
        for extra in ("preprocessor_config.json", "generation_config.json"):
            (Path(folder) / extra).write_bytes((SMALL_MODEL / extra).read_bytes())
        engine = VllmEngine(folder, str(here.dtype).removeprefix("torch."), 1024, load_format="dummy")
        requests = [Request(tuple(range(10, 74)), None, tuple(range(asked.group)))]
        engine.generate(requests, asked)
        drawn: list[int] = []
        took = seconds(lambda: drawn.extend(len(one.ids) for one in engine.generate(requests, asked)[0]))
    return {"rate": sum(drawn) / took}
