"""Sampling: every prompt is read once, its cache is copied to the group, and the group is sampled together."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from credit_zoo.policy import Policy
from credit_zoo.registry import UsageError, check_range
from credit_zoo.types import Prompts, Responses


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn. `top_k=0` and `top_p=1` draw from the whole distribution, which is what the
    trainer's ratio assumes; `temperature=0` takes the most probable token (evaluation only).
    """

    group: int = 8  # responses per prompt
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 48  # response tokens, stop token included

    def __post_init__(self) -> None:
        check_range("sampling.group", self.group, 1)
        check_range("sampling.temperature", self.temperature, 0)
        check_range("sampling.top_p", self.top_p, 0, 1, open_low=True)
        check_range("sampling.top_k", self.top_k, 0)
        check_range("sampling.max_tokens", self.max_tokens, 1)
        for name in ("group", "top_k", "max_tokens"):
            if not isinstance(getattr(self, name), int):
                raise UsageError(f"sampling.{name} must be a whole number, got {getattr(self, name)!r}")


def restrict(logits: Float[Tensor, "B V"], top_k: int, top_p: float) -> Float[Tensor, "B V"]:
    """Keeps the `top_k` largest logits, then the fewest whose probabilities reach `top_p`; the others are -inf."""
    if top_k:
        floor = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < floor, -torch.inf)
    if top_p < 1:
        ordered, index = logits.sort(descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        logits = logits.masked_fill((before >= top_p).scatter(-1, index, before >= top_p), -torch.inf)
    return logits


def _draw(logits: Float[Tensor, "B V"], sampling: Sampling, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One token per row and its log-probability, `[B]` each."""
    if sampling.temperature == 0:
        return logits.argmax(-1), torch.zeros(len(logits), device=logits.device)
    logp = restrict(logits, sampling.top_k, sampling.top_p).log_softmax(-1)
    token = torch.multinomial(logp.exp().to(generator.device), 1, generator=generator).to(logits.device)
    return token[:, 0], logp.gather(-1, token)[:, 0]


@torch.no_grad()
def sample(policy: Policy, prompts: Prompts, sampling: Sampling, generator: torch.Generator) -> Responses:
    """Draws `sampling.group` responses to every prompt."""
    policy.eval()
    rows = torch.arange(len(prompts)).repeat_interleave(sampling.group)
    device = next(policy.parameters()).device
    hidden, cache, shift = _prefill(policy, prompts, device)
    cache.batch_repeat_interleave(sampling.group)
    hidden, shift = (x.repeat_interleave(sampling.group, 0) for x in (hidden, shift))
    seen = prompts.mask.to(device).repeat_interleave(sampling.group, 0).long()

    stop = torch.tensor(policy.encoder.stop_tokens, device=device)
    alive = torch.ones(len(rows), dtype=torch.bool, device=device)
    ids: list[Tensor] = []
    masks: list[Tensor] = []
    logps: list[Tensor] = []
    for _ in range(sampling.max_tokens):
        logits = policy.finish_logits(policy.model.get_output_embeddings()(hidden), sampling.temperature or 1.0)
        token, logp = _draw(logits, sampling, generator)
        token = torch.where(alive, token, policy.encoder.pad_token)
        ids, masks, logps = [*ids, token], [*masks, alive], [*logps, torch.where(alive, logp, 0.0)]
        alive = alive & ~torch.isin(token, stop)
        if not alive.any():
            break
        seen = torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
        hidden = _step(policy, token, seen, cache, shift)
    return _collect(ids, masks, logps, alive, rows, sampling.max_tokens, policy.encoder.pad_token)


def _prefill(policy: Policy, prompts: Prompts, device: torch.device) -> tuple[Tensor, DynamicCache, Tensor]:
    """Reads the prompts: the last hidden states `[N, D]`, the cache, and by how much the family's positions
    differ from a count of tokens, `[N]` (multimodal rope counts an image as less than its tokens).
    """
    ids, mask = prompts.ids.to(device), prompts.mask.to(device)
    cache = DynamicCache(config=policy.model.config)
    vision = policy.vision_inputs(
        [{name: value.to(device) for name, value in one.items()} for one in prompts.vision], range(len(prompts))
    )
    inputs = policy.base_inputs(ids, mask, ids == policy.encoder.image_token)
    hidden = policy.base(**inputs, **vision, past_key_values=cache, use_cache=True).last_hidden_state[:, -1]
    delta = getattr(policy.base, "rope_deltas", None)
    shift = torch.zeros(len(ids), dtype=torch.int64, device=device) if delta is None else delta[:, 0]
    return hidden, cache, shift


def _step(policy: Policy, token: Tensor, seen: Tensor, cache: Any, shift: Tensor) -> Tensor:
    """The hidden states `[B, D]` after one more token."""
    position = (seen.sum(1) - 1 + shift)[:, None]
    if getattr(policy.base, "rope_deltas", None) is not None:
        position = position.expand(3, -1, -1)
    out = policy.base(
        input_ids=token[:, None], attention_mask=seen, position_ids=position, past_key_values=cache, use_cache=True
    )
    return out.last_hidden_state[:, -1]


def _collect(
    ids: list[Tensor], masks: list[Tensor], logps: list[Tensor], alive: Tensor, rows: Tensor, length: int, pad: int
) -> Responses:
    """Stacks the steps and pads them to `length`."""
    short = length - len(ids)
    fill = torch.nn.functional.pad
    return Responses(
        ids=fill(torch.stack(ids, 1), (0, short), value=pad).cpu(),
        mask=fill(torch.stack(masks, 1), (0, short)).cpu(),
        logp=fill(torch.stack(logps, 1), (0, short)).cpu(),
        truncated=alive.cpu(),
        row_of=rows,
    )
