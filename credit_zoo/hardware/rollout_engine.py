"""vLLM in the trainer's process: whether it samples from the weights that it was told, and what sleep gives back."""

import dataclasses
from functools import partial
from typing import Any

import torch
from PIL.Image import Image, new

from credit_zoo.hardware.budget import Budget, Skipped, guarded
from credit_zoo.hardware.machine import Here
from credit_zoo.policy import BatchLayout, ModelConfig, Policy
from credit_zoo.rollout import RolloutConfig, RolloutEngine, SamplingParams, close_engines, generators, sampler

APART = 1e-3  # that log-probabilities of engine and trainer may be apart in the mean [nats]
LENGTH = 256  # tokens of prompt and response that the engine keeps


def rollout_engine(here: Here, budget: Budget) -> dict[str, Any]:
    """The small model in float32: log-probabilities of sampled tokens beside the trainer's, as loaded, after other
    weights and with adapters; and the memory that an engine holds awake and asleep.
    """
    try:
        import vllm  # noqa: F401
    except ImportError:
        raise Skipped("vllm is not installed") from None
    policy = Policy.load(ModelConfig()).to(here.device)
    engine = sampler(RolloutConfig("vllm", "none", memory=0.2), policy, LENGTH)
    assert engine is not None
    try:
        weights = {
            name: guarded(partial(_apart, make, policy, engine))
            for name, make in (("as loaded", _same), ("other weights", _moved), ("adapters", _adapted))
        }
        return {"weights": weights, "memory": guarded(partial(_memory, here, policy, engine))}
    finally:
        close_engines()


def _same(policy: Policy) -> Policy:
    return policy


def _moved(policy: Policy) -> Policy:
    with torch.no_grad():
        policy.decoder.norm.weight.mul_(0.8)
    return policy


def _adapted(policy: Policy) -> Policy:
    made = Policy(policy.model, policy.encoder, dataclasses.replace(policy.settings, lora_rank=4))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:  # one of an adapter's two factors is 0 at first
                parameter.add_(0.02 * torch.randn_like(parameter))
    return made


def _apart(make: Any, policy: Policy, engine: RolloutEngine) -> dict[str, float]:
    """How far engine and trainer are apart; raises `ArithmeticError` where they are two policies."""
    made = make(policy)
    engine.sync(made)
    apart = _difference(made, engine)
    if not apart <= APART:
        raise ArithmeticError(f"log-probabilities of engine and trainer are {apart:.2g} nats apart, more than {APART}")
    return {"difference": apart}


def _difference(policy: Policy, engine: RolloutEngine) -> float:
    device = next(policy.parameters()).device
    asked: list[tuple[Image | None, str]] = [(new("RGB", (84, 84), (40 * k, 90, 160)), "find x") for k in range(4)]
    sampling, prompts = SamplingParams(4, max_tokens=24), policy.encoder.prompts(asked)
    found = engine(policy, [image for image, _ in asked], prompts, sampling, generators(0, range(len(asked))))
    with torch.no_grad():
        logp = policy(BatchLayout.of(prompts, found).to(device), sampling.temperature).logp.cpu()
    return float((logp - found.logp)[found.mask].abs().mean())


def _memory(here: Here, policy: Policy, engine: RolloutEngine) -> dict[str, float]:
    """GiB that are free while the engine is awake, and after it has sampled and sleeps."""
    if here.device.type != "cuda":
        raise Skipped("an engine on the CPU does not sleep")
    engine.sync(policy)
    awake, _ = torch.cuda.mem_get_info()
    _difference(policy, engine)
    asleep, _ = torch.cuda.mem_get_info()
    if asleep <= awake:
        raise ArithmeticError(f"sleep gave nothing back: {awake} bytes were free before it, and {asleep} after")
    return {"free with weights awake GiB": awake / 2**30, "free asleep GiB": asleep / 2**30}
