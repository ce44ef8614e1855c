"""What of a step is read, and in which micro-batches: with a gradient, only what teaches.

    reach[b] = 1 + the last t whose token gets credit        0 where none does: all answers to the prompt were as good

A token behind it has a gradient of exactly 0, and so has a whole response of reach 0, wherever the step is silent there
(`credit_zoo.training.silence`). What is not read keeps its place in every count that the loss is divided by.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from credit_zoo.policy import MicroBatch, pack, split, width_of
from credit_zoo.training.trainer import Trainer, UpdateBatch


def whole_parts(trainer: Trainer, update_batch: UpdateBatch) -> list[MicroBatch]:
    """All of the step's responses, the same number of micro-batches on every process."""
    return parts_of(trainer, update_batch, update_batch.rows.lengths, least=0)


def micro_batches(trainer: Trainer, update_batch: UpdateBatch) -> list[MicroBatch]:
    """The step's responses as they are read together for their gradient: as many micro-batches on every process, and at
    least one.
    """
    if not trainer.silence.rows:
        return whole_parts(trainer, update_batch)
    found = parts_of(trainer, update_batch, _reach(trainer, update_batch), at_least=1)
    return _with_all_tokens(found, update_batch) if _cuts(trainer, update_batch) else found


def left_out_rows(update_batch: UpdateBatch, parts: Sequence[MicroBatch]) -> Int64[Tensor, " M"]:
    """The rows of this process that are in none of its micro-batches."""
    row_of = update_batch.rows.row_of
    return _others([part.rows for part in parts], len(row_of), row_of.device)


def _others(rows: Sequence[Int64[Tensor, "..."]], count: int, device: torch.device) -> Int64[Tensor, " K"]:
    """Those of `count` numbers that are not among the rows; how many is known, so that no accelerator is waited for."""
    there = torch.zeros(count, dtype=torch.int64, device=device)
    for some in rows:
        there.index_fill_(0, some, 1)
    return there.argsort(stable=True)[: count - sum(map(len, rows))]


def _cuts(trainer: Trainer, update_batch: UpdateBatch) -> bool:
    """Whether rows are read up to their last credited token alone: those of a single update. In later ones more is told
    of a token than its gradient.
    """
    return update_batch.shaped is not None and trainer.silence.tokens and trainer.train.updates == 1


def teaches(trainer: Trainer, update_batch: UpdateBatch) -> Bool[Tensor, " B"]:
    """Which responses are read for their gradient, and not to keep processes in step alone."""
    return _reach(trainer, update_batch) > 0 if trainer.silence.rows else update_batch.inputs.mask.any(1)


def _reach(trainer: Trainer, update_batch: UpdateBatch) -> Int64[Tensor, " B"]:
    """How many tokens of each response have to be read for their gradient."""
    x, shaped, silence = update_batch.inputs, update_batch.shaped, trainer.silence
    if shaped is not None:
        credit = (shaped != 0) & x.mask
    else:
        credit = x.mask & (x.advantage != 0)[:, None] if silence.rule else x.mask
    if _cuts(trainer, update_batch):
        place = torch.arange(1, credit.shape[1] + 1, device=credit.device)
        return (credit * place).amax(1)
    return torch.where(credit.any(1), update_batch.rows.lengths, 0)


def parts_of(
    trainer: Trainer, update_batch: UpdateBatch, lengths: Int64[Tensor, " B"], least: int = 1, at_least: int = 0
) -> list[MicroBatch]:
    """Micro-batches of the rows up to their `lengths`, of those that have `least` tokens. There are as many on every
    process, and `at_least` so many, so that all go through the same passes: one that has too few rows reads others too.
    """
    train, layout = trainer.train, update_batch.rows
    sizes = (layout.prompt_length, layout.mask.shape[1])
    found = pack(layout.row_of, lengths, *sizes, train.micro_batch, train.micro_tokens, least)
    here = torch.tensor([max(len(found), at_least)], device=lengths.device)
    count = int(trainer.accelerator.gather(here).max())
    there = sum(len(part.rows) for part in found)
    if count > there:
        others = _others([part.rows for part in found], len(lengths), lengths.device)[: count - there]
        alone = pack(layout.row_of[others], layout.lengths[others], *sizes, responses=1, tokens=0)
        found += [replace(part, rows=others[part.rows]) for part in alone]
    return split(found, count)


def _with_all_tokens(parts: list[MicroBatch], update_batch: UpdateBatch) -> list[MicroBatch]:
    """The micro-batches with columns for all tokens of their rows, of which those that were packed are read."""
    lengths, widest = update_batch.rows.lengths, update_batch.rows.mask.shape[1]
    longest = torch.stack([lengths[part.rows].amax() for part in parts]).tolist()
    widths = [width_of(tokens, widest) for tokens in longest]
    return [
        MicroBatch(part.rows, width, part.width) if width > part.width else part
        for part, width in zip(parts, widths, strict=True)
    ]
