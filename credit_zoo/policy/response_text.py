"""Signals that the text of a response tells, by its tokenizer alone: whether a token is thought or answer, and digits.

A token's text is what it decodes to on its own, so that every token stands somewhere in the joined text whatever its
neighbours are; tags and digits are ASCII, which no tokenizer splits below a character.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Int8, Int64
from torch import Tensor

from credit_zoo.answers import TAGS
from credit_zoo.policy.processor import Encoder

FORM, THOUGHT, ANSWER = -1, 0, 1


def text_signals(
    needs: Iterable[str], encoder: Encoder, ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> dict[str, Tensor]:
    """Those of "section" and "digit" that `needs` names, `[B, T]` float32, 0 outside the mask."""
    wanted = {name for name in ("section", "digit") if name in set(needs)}
    if not wanted:
        return {}
    found = {name: torch.zeros(mask.shape) for name in sorted(wanted)}
    texts = _token_texts(encoder, ids[mask].unique().tolist())
    for row, (tokens, valid) in enumerate(zip(ids.cpu(), mask.cpu(), strict=True)):
        pieces = [texts[token] for token in tokens[valid].tolist()]
        if "section" in wanted:
            found["section"][row, valid] = torch.tensor(token_sections(pieces, encoder.opened), dtype=torch.float32)
        if "digit" in wanted:
            found["digit"][row, valid] = torch.tensor([any(map(str.isdigit, one)) for one in pieces]).float()
    return {name: values.to(mask.device) for name, values in found.items()}


def _token_texts(encoder: Encoder, ids: Sequence[int]) -> dict[int, str]:
    """What each token says; nothing for special ones, but for tags that a checkpoint counts among them."""
    tokenizer = encoder.tokenizer
    tags = sorted(set(TAGS) & set(tokenizer.all_special_tokens))
    silent = {*tokenizer.all_special_ids} - {*tokenizer.convert_tokens_to_ids(tags)}
    return {one: "" if one in silent else str(tokenizer.decode([one], skip_special_tokens=False)) for one in ids}


def token_sections(pieces: Sequence[str], opened: str = "") -> list[int]:
    """The section of every token of a response that says `pieces`; `opened` is what the prompt said of it already.

    A token that holds a character of the answer is the answer's, and of the others one that holds a character of the
    thought is the thought's; one that says nothing, as the stop token, is form.
    """
    ends = np.cumsum([len(opened), *map(len, pieces)]).tolist()
    characters = character_sections(opened + "".join(pieces))
    return [int(characters[start:end].max(initial=FORM)) for start, end in pairwise(ends)]


def character_sections(text: str) -> Int8[np.ndarray, " N"]:
    """The section of every character, as the grader finds the answer: in the answer blocks behind the last `</think>`,
    of which one that is never closed reaches to the end. The thought stands before that tag, or where there is none
    behind `<think>`, up to the first answer block.
    """
    think, think_end, answer, answer_end = TAGS
    found = np.full(len(text), FORM, dtype=np.int8)
    opens, closes = text.find(think), text.rfind(think_end)
    if closes >= 0:
        found[opens + len(think) if 0 <= opens < closes else 0 : closes] = THOUGHT
    elif opens >= 0:
        first = text.find(answer, opens)
        found[opens + len(think) : first if first >= 0 else len(text)] = THOUGHT
    at = closes + len(think_end) if closes >= 0 else 0
    while (start := text.find(answer, at)) >= 0:
        end = text.find(answer_end, start)
        found[start + len(answer) : end if end >= 0 else len(text)] = ANSWER
        if end < 0:
            break
        at = end + len(answer_end)
    return found
