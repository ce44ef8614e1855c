"""Who does what when several processes share a step: each one's questions, responses and micro-batches, and everything
that they exchange. `dry_run=true` prints it.

It is the arithmetic of the loop at its fullest: every response as long as it may be, every group kept. All processes
take part in every exchange with tensors of one shape, or NCCL would wait for ever.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from credit_zoo.experiment.config import ExperimentConfig
from credit_zoo.experiment.plan import PROMPT_TOKENS
from credit_zoo.facts import UPDATE_SIGNAL, ShaperFacts
from credit_zoo.policy import pack, split
from credit_zoo.registry import ESTIMATORS, SHAPERS
from credit_zoo.sampled_signals import SAMPLED_SIGNALS
from credit_zoo.training import Silence, measured_signals, needs_old_policy


@dataclass(frozen=True)
class Share:
    """What one process has of a step: the places of its questions, its responses, and the responses of each pass."""

    questions: tuple[int, ...]
    responses: int
    micro_batches: tuple[int, ...]


@dataclass(frozen=True)
class Exchange:
    """A collective: its kind, the shape that every process hands in, how often a step has it, and what it is for."""

    kind: str
    shape: tuple[int, ...]
    times: int
    purpose: str


def shares(config: ExperimentConfig) -> list[Share]:
    """The share of every process."""
    train, group, length = config.train, config.sampling.group, config.sampling.max_tokens
    processes = config.parallel.processes or 1
    places = [tuple(range(rank, train.prompts, processes)) for rank in range(processes)]
    packed = []
    for asked in places:
        row_of = torch.arange(len(asked)).repeat_interleave(group)
        lengths = torch.full_like(row_of, length)
        packed.append(pack(row_of, lengths, PROMPT_TOKENS, length, train.micro_batch, train.micro_tokens))
    most = max(map(len, packed))
    return [
        Share(asked, len(asked) * group, tuple(len(part.rows) for part in split(parts, most)))
        for asked, parts in zip(places, packed, strict=True)
    ]


def exchanges(config: ExperimentConfig, facts: ShaperFacts, rows: int) -> list[Exchange]:
    """What a step exchanges, where each process has `rows` responses; gradients aside, which the engine shares."""
    train, base, length = config.train, config.base, config.sampling.max_tokens
    # What the policy that samples has measured on the way; half precision rounds it otherwise than a pass would.
    at_hand = SAMPLED_SIGNALS if config.rollout.engine == "hf" and config.model.dtype == "float32" else ()
    two_pass = needs_old_policy(facts, base, train.updates, at_hand)
    passes = train.updates + two_pass
    if train.updates > 1 and Silence.of(config.shaper, base, train.updates).rows:
        passes += train.updates  # without a gradient, over what has none
    whole = [
        Exchange("reduce", (2,), 1, "responses and tokens of the step"),
        Exchange("gather", (1,), 1, "rows of the fullest process"),
        Exchange("gather", (1,), passes, "micro-batches of the fullest process"),
    ]
    if ESTIMATORS.of(base.estimator).facts.scope == "batch":
        whole.append(Exchange("gather", (rows,), 4, "rewards, groups, lengths and which count, for the estimator"))
    if two_pass:
        whole.append(Exchange("reduce", (1,), 1, "whether the old policy is finite"))
    if facts.scope == "batch":
        whole += [
            Exchange("gather", (rows,), 2, "advantages and scores, for a rule of the batch"),
            Exchange("gather", (rows, length), 2 + len(facts.needs), "mask, ids and signals, for a rule of the batch"),
            Exchange("gather", (rows,), 1, "groups, for a rule of the batch"),
        ]
    if base.selecting is not None:
        whole += [
            Exchange("gather", (rows,), 2, "advantages and groups, for the loss that selects tokens"),
            Exchange("gather", (rows, length), 3, "log-probabilities, mask and ids, for the loss that selects tokens"),
        ]
    compared = {"entropy", "logp", *facts.needs, *measured_signals(facts, base)} - {UPDATE_SIGNAL}
    return [
        *whole,
        Exchange("reduce", (1,), train.updates, "loss"),
        Exchange("gather", (rows, length), 2 * train.updates, "weights of tokens, and which count"),
        Exchange("gather", (rows, length), (1 + len(compared)) * train.updates, "signals that are compared, and mask"),
    ]


def process_lines(config: ExperimentConfig) -> Iterator[str]:
    """The shares and the exchanges as lines of text; those of processes that are alike in one."""
    found = shares(config)
    facts = SHAPERS.of(config.shaper).facts
    for first, last in _runs(found):
        share = found[first]
        who = f"process {first}" if first == last else f"processes {first} to {last}"
        each = "" if first == last else " each, process by process"
        asked = f"{len(share.questions)} questions{each}, {share.responses} responses"
        yield f"{who:<18} {asked}, read {' + '.join(map(str, share.micro_batches))} at a time"
    rows = max(share.responses for share in found)
    rounds = 1 + config.base.max_resampling_rounds if config.base.dynamic_sampling else 1
    yield f"exchanged a step   {rounds} time(s) at most: the numbers of the groups that are kept (objects)"
    for one in exchanges(config, facts, rows):
        yield f"                   {one.times} x {one.kind} {list(one.shape)}: {one.purpose}"
    engine = "DDP, with the last micro-batch" if config.parallel.zero == "none" else f"ZeRO {config.parallel.zero}"
    yield f"                   gradients, by {engine}"
    yield "                   2 x reduce of some numbers: the report, and whether to stop"


def _runs(found: Sequence[Share]) -> Iterator[tuple[int, int]]:
    """First and last of neighbours with as much to do."""
    start = 0
    for rank in range(1, len(found) + 1):
        if rank == len(found) or _amount(found[rank]) != _amount(found[start]):
            yield start, rank - 1
            start = rank


def _amount(share: Share) -> tuple[int, tuple[int, ...]]:
    return share.responses, share.micro_batches
