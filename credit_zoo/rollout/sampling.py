"""Sampling: every prompt is read once, its cache is copied to the group, and the group is sampled together.

What a token is drawn from is at hand while it is drawn, so that log-probability, entropy and collision probability of
every token can be told on the way (`MeasuredResponses`), as a pass over the responses would tell them.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from credit_zoo.errors import UsageError, check_range
from credit_zoo.policy import Policy, Truncation, roomy_cache
from credit_zoo.rollout.measured_responses import MeasuredResponses
from credit_zoo.sampled_signals import SAMPLED_SIGNALS
from credit_zoo.types import Prompts, Responses

# One source of draws, or one for each prompt.
Draws = torch.Generator | Sequence[torch.Generator]
# Ended responses leave the batch once the share that goes on is this low: each time, the cache is copied.
DROP_BELOW = 0.8
BLOCK = 1024  # tokens of the vocabulary
TOGETHER = 32  # blocks that are summed at once: sums in float64 copy what they sum
# Decoded tokens after which an accelerator is asked which responses have ended: each time the host waits for it, while
# one that has ended is decoded on to no purpose. On the CPU asking costs nothing, and every token is asked after.
LOOK_EVERY = 8
SEEDS = 2**32  # as many as torch's generator tells apart
# Low enough that a token has probability 0 in float32, finite so that 0 times it stays 0.
LOWEST = -1e4
# Above what sums over a block and over all of it may differ by: a draw never runs past the last possible token.
EDGE = 1e-12


@dataclass(frozen=True)
class SamplingParams:
    """How responses are drawn. `top_k=0` and `top_p=1` draw from the whole distribution; what they leave of it
    otherwise is the policy that is sampled and the one that is trained (`Truncation`). `temperature=0` takes the
    most probable token (evaluation only).
    """

    group: int = 8  # responses per prompt
    temperature: float = 1.0  # of the softmax, [0, inf); 0 is greedy
    top_p: float = 1.0  # share of probability that is kept, (0, 1]
    top_k: int = 0  # tokens that are kept; 0: all
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

    @property
    def truncation(self) -> Truncation:
        """What is left of the distribution."""
        return Truncation(self.top_k, self.top_p)


def restrict(logits: Float[Tensor, "B V"], top_k: int, top_p: float) -> Float[Tensor, "B V"]:
    """The logits that `Truncation` keeps; the others are -inf."""
    truncation = Truncation(top_k, top_p)
    return logits.masked_fill(logits < truncation.floor(logits)[:, None], -torch.inf) if truncation.cuts else logits


def invert(
    logits: Float[Tensor, "B V"], sampling: SamplingParams, chance: Float[Tensor, " B"]
) -> tuple[Tensor, Tensor]:
    """One token per row and its log-probability, `[B]` each, by inversion: the first token whose cumulative
    probability exceeds `chance`, so that a row's draw does not depend on the rows beside it. Uses up the logits.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1), torch.zeros(len(logits), device=logits.device)
    return _inverted(_log_probabilities(logits, sampling).exp_(), chance)


def _log_probabilities(logits: Float[Tensor, "B V"], sampling: SamplingParams) -> Float[Tensor, "B V"]:
    """Of what is drawn from; uses up the logits."""
    z = restrict(logits, sampling.top_k, sampling.top_p)
    return z.sub_(z.logsumexp(-1, keepdim=True))


def _inverted(p: Float[Tensor, "B V"], chance: Float[Tensor, " B"]) -> tuple[Tensor, Tensor]:
    """The tokens by inversion of their probabilities, and their log-probabilities."""
    if p.shape[-1] <= BLOCK:
        reached = p.cumsum(-1, dtype=torch.float64)
        token = _first_above(reached, chance[:, None].clamp(max=1 - EDGE) * reached[:, -1:])
        return token[:, 0], p.gather(-1, token)[:, 0].log()
    # Which block of the vocabulary, then which token of it: no second array of the logits' size.
    blocks = _block_sums(p)
    reached = blocks.cumsum(-1)
    wanted = chance[:, None].clamp(max=1 - EDGE) * reached[:, -1:]
    block = torch.searchsorted(reached, wanted, right=True).clamp(max=blocks.shape[-1] - 1)
    before = (reached - blocks).gather(-1, block)
    columns = (block * BLOCK + torch.arange(BLOCK, device=p.device)).clamp(max=p.shape[-1] - 1)
    inside = before + p.gather(-1, columns).cumsum(-1, dtype=torch.float64)
    token = columns.gather(-1, _first_above(inside, wanted))
    return token[:, 0], p.gather(-1, token)[:, 0].log()


def _first_above(reached: Float[Tensor, "B N"], wanted: Float[Tensor, "B 1"]) -> Int64[Tensor, "B 1"]:
    """The first place of each row at which more than what is wanted is reached, or its last that adds anything."""
    return torch.searchsorted(reached, torch.minimum(wanted, reached[:, -1:] * (1 - EDGE)), right=True)


def _draw(
    logits: Float[Tensor, "B V"], sampling: SamplingParams, chance: Float[Tensor, " B"], measure: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """A token per row, `[B]`, and what is told of it: "logp" at least, with `measure` all of `SAMPLED_SIGNALS`."""
    if not measure:
        token, logp = invert(logits, sampling, chance)
        return token, {"logp": logp}
    logs = _log_probabilities(logits, sampling)
    entropy = _entropy(logs)
    p = logs.exp_()
    token, logp = _inverted(p, chance)
    collision = torch.linalg.vector_norm(p, dim=-1).square()
    return token, {"logp": logp, "entropy": entropy, "collision": collision}


def _entropy(logs: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
    """-sum_v p log p, some blocks of the vocabulary at a time; tokens that are left out have log-probability -inf."""
    found = logs.new_zeros(len(logs))
    for part in logs.split(TOGETHER * BLOCK, dim=-1):
        finite = part.clamp(min=LOWEST)
        found -= torch.linalg.vecdot(finite.exp(), finite)
    return found


def _block_sums(p: Float[Tensor, "B V"]) -> Float[Tensor, "B N"]:
    """Sums over blocks of the vocabulary, float64; the last block may be smaller."""
    whole = p.shape[-1] // BLOCK * BLOCK
    parts = p[:, :whole].split(TOGETHER * BLOCK, dim=-1) if whole else ()
    sums = [part.unflatten(-1, (-1, BLOCK)).sum(-1, dtype=torch.float64) for part in parts]
    if whole < p.shape[-1]:
        sums.append(p[:, whole:].sum(-1, keepdim=True, dtype=torch.float64))
    return torch.cat(sums, dim=-1)


def chances(prompts: int, sampling: SamplingParams, draws: Draws) -> Float[Tensor, "B T"]:
    """The uniform draws that decide the tokens of the responses to some prompts. Each response has a generator of its
    own, whose seed its prompt's source draws: more responses or more tokens come after the same first ones.
    """
    sources = [draws] * prompts if isinstance(draws, torch.Generator) else draws
    seeds = torch.cat([torch.randint(SEEDS, (sampling.group,), generator=source) for source in sources])
    own = [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
    return torch.stack([torch.rand(sampling.max_tokens, dtype=torch.float64, generator=one) for one in own])


def generators(seed: int, numbers: Sequence[int]) -> list[torch.Generator]:
    """A source of draws for each question of a run, whichever process asks it and whenever."""
    return [torch.Generator().manual_seed((seed * 1_000_003 + number) * 4_099 % 2**63) for number in numbers]


@torch.no_grad()
def sample(
    policy: Policy,
    prompts: Prompts,
    sampling: SamplingParams,
    draws: Draws,
    tokens: int | None = None,
    measure: bool = False,
) -> Responses:
    """Draws `sampling.group` responses to every prompt, from one source or from one for each prompt. What one
    response draws does not depend on the others, nor on how many are drawn together: so many that prompts and
    responses have at most that many `tokens` (None: any number), and at least one. With `measure` they are
    `MeasuredResponses`, of the same draws; a greedy answer is drawn from nothing that could be measured.
    """
    policy.eval()
    measure = measure and sampling.temperature > 0
    row_of = torch.arange(len(prompts)).repeat_interleave(sampling.group)
    chance = chances(len(prompts), sampling, draws)
    rows = rows_together(prompts.ids.shape[1] + sampling.max_tokens, sampling.group, tokens)
    parts = zip(row_of.split(rows), chance.split(rows), strict=True)
    drawn = [_sample_rows(policy, prompts, sampling, *part, measure) for part in parts]
    *columns, told = zip(*drawn, strict=True)
    ids, mask, cut = (torch.cat(values) for values in columns)
    signals = {name: torch.cat([one[name] for one in told]) for name in told[0]}
    if not measure:
        return Responses(ids, mask, signals["logp"], cut, row_of)
    return MeasuredResponses(ids, mask, signals["logp"], cut, row_of, signals)


def rows_together(length: int, group: int, tokens: int | None) -> int:
    """How many responses of a `length`, prompt included, are drawn together: whole groups where one fits."""
    rows = max((tokens or sys.maxsize) // length, 1)
    return rows - rows % group if rows > group else rows


def _sample_rows(
    policy: Policy, prompts: Prompts, sampling: SamplingParams, row_of: Tensor, chance: Tensor, measure: bool
) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Ids, mask, truncation and what is told of the tokens of some responses, drawn together."""
    device = next(policy.parameters()).device
    told = SAMPLED_SIGNALS if measure else SAMPLED_SIGNALS[:1]
    drawn = _Drawn.empty(chance.shape, policy.encoder.pad_token, device, told)
    stop = torch.tensor(policy.encoder.stop_tokens, device=device)
    every = 1 if device.type == "cpu" else LOOK_EVERY

    distinct, place = row_of.unique(return_inverse=True)
    asked, chance = prompts.select(distinct), chance.to(device)
    padded = ~asked.mask.all(1)[place]  # stays on the CPU, where it is known without asking the device
    cache = roomy_cache(policy.model.config, sampling.max_tokens)
    read = policy.read_prompts(asked.to(device), cache).select(place.to(device))
    hidden, seen = read.hidden[:, -1], read.mask
    here = torch.arange(len(row_of), device=device)  # the responses whose rows are still in the batch
    ended = torch.zeros_like(here, dtype=torch.bool)
    for t in range(sampling.max_tokens):
        logits = policy.finish_logits(policy.model.get_output_embeddings()(hidden), sampling.temperature or 1.0)
        token, found = _draw(logits, sampling, chance[:, t], measure)
        drawn.put(t, here, token, found, ~ended)
        ended = ended | torch.isin(token, stop)
        if t + 1 == sampling.max_tokens:
            break
        if (t + 1) % every == 0:
            going = (~ended).cpu()
            if not going.any():
                break
            if going.sum() <= DROP_BELOW * len(going):
                padded = padded[going]
                kept = going.nonzero()[:, 0].to(device)
                read, seen, token = read.select(kept), seen[kept], token[kept]
                here, ended, chance = here[kept], ended[kept], chance[kept]
        seen = torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
        hidden = policy.read_on(read.cache, read.shift, token[:, None], seen, bool(padded.any()))[:, -1]
    return drawn.on_cpu(here.cpu()[~ended.cpu()])


@dataclass(frozen=True)
class _Drawn:
    """What was drawn so far, `[B, T]`, and what is `told` of it; what stands behind the end of a response is as it was
    made.
    """

    ids: Tensor
    mask: Tensor
    told: Mapping[str, Tensor]
    pad_token: int

    @classmethod
    def empty(cls, size: torch.Size, pad_token: int, device: torch.device, told: Sequence[str]) -> "_Drawn":
        mask = torch.zeros(size, dtype=torch.bool, device=device)
        values = {name: torch.zeros(size, device=device) for name in told}
        return cls(torch.full(size, pad_token, device=device), mask, values, pad_token)

    def put(self, t: int, rows: Tensor, token: Tensor, found: Mapping[str, Tensor], going: Tensor) -> None:
        """The tokens number `t` of some rows, where they go on."""
        self.ids[:, t].index_copy_(0, rows, torch.where(going, token, self.pad_token))
        self.mask[:, t].index_copy_(0, rows, going)
        for name, values in found.items():
            self.told[name][:, t].index_copy_(0, rows, torch.where(going, values, 0.0))

    def on_cpu(self, cut: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Ids, mask, which rows were cut, given their numbers, and what is told."""
        truncated = torch.zeros(len(self.ids), dtype=torch.bool)
        truncated[cut] = True
        return self.ids.cpu(), self.mask.cpu(), truncated, {name: values.cpu() for name, values in self.told.items()}
