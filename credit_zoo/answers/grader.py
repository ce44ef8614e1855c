r"""From a response to a score: finding the answer, then comparing it; the reward and the evaluation alike.

The answer is the `<answer>` block after the last `</think>`, or `\boxed{}` where there is no such tag. Decisions
where graders may reasonably differ:
- Tags are taken as written: `<ANSWER>` and `< answer >` are text. Without tags or box there is no answer.
- A `<think>` that the prompt's template has opened belongs to the response, and stands before it here.
- What a response says inside its thinking does not count. Two blocks that differ after it are no answer; two
  equal ones are one answer, but not the form asked for. Blocks within blocks and unclosed blocks are no answer.
- Markup, JSON, comments and prose inside the block are part of the answer, and so make it wrong.
- The form needs a think block and an answer block that both hold something visible.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from credit_zoo.answers.bounding_boxes import HIT, MAX_LENGTH, iou, parse_box, rescale
from credit_zoo.answers.choices import same_choice, same_letter, same_text
from credit_zoo.answers.class_names import same_class
from credit_zoo.answers.math_equality import same_float, same_integer, same_list, same_math
from credit_zoo.answers.plain_text import CAP, clean, unwrap, visible
from credit_zoo.question import Question, Score

__all__ = [
    "GRADER_VERSION", "Extraction", "extract", "iou", "parse_box", "rescale", "same_choice", "same_class",
    "same_float", "same_integer", "same_letter", "same_list", "same_math", "same_text", "score_response",
]  # fmt: skip

GRADER_VERSION = 2

_THINK, _THINK_END, _ANSWER, _ANSWER_END = TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_BOX_TOKENS = re.compile(r"\\boxed\s*\{|\\[{}]|[{}]")


@dataclass(frozen=True)
class Extraction:
    """The answer found in a response; `why` says what stood in the way where `text` is None."""

    text: str | None
    formatted: bool
    why: str = ""


def extract(response: str, cap: int = CAP) -> Extraction:
    """The response's answer of at most `cap` characters, in time linear in the response's length."""
    tail = response[response.rfind(_THINK_END) + len(_THINK_END) :] if _THINK_END in response else response
    blocks, nested = _blocks(tail)
    if not blocks and _ANSWER not in tail:
        blocks = _boxed(tail)
    formatted = _formatted(response)
    if nested:
        return Extraction(None, False, "an answer block inside an answer block")
    if not blocks:
        return Extraction(None, False, "no answer block")
    stripped = [visible(block).strip() for block in blocks]
    if any(len(block) > cap for block in stripped):
        return Extraction(None, formatted, f"an answer of more than {cap} characters")
    answers = {unwrap(clean(block)) for block in stripped}
    if len(answers) > 1:
        return Extraction(None, False, "answer blocks that differ")
    text = answers.pop()
    return Extraction(text, formatted) if text else Extraction(None, False, "an empty answer")


def _blocks(text: str) -> tuple[list[str], bool]:
    """The contents of the answer blocks, and whether one stands inside another."""
    blocks: list[str] = []
    at = 0
    while (start := text.find(_ANSWER, at)) >= 0:
        start += len(_ANSWER)
        end = text.find(_ANSWER_END, start)
        if end < 0:
            break
        blocks.append(text[start:end])
        if _ANSWER in blocks[-1]:
            return [], True
        at = end + len(_ANSWER_END)
    return blocks, False


def _boxed(text: str) -> list[str]:
    r"""The contents of the outermost `\boxed{}`, in one pass."""
    found: list[str] = []
    opened: list[tuple[bool, int]] = []
    boxes = 0
    for token in _BOX_TOKENS.finditer(text):
        brace = token.group()
        if brace == "}" and opened:
            box, start = opened.pop()
            boxes -= box
            if box and not boxes:
                found.append(text[start : token.start()])
        elif brace == "{" or brace.startswith("\\boxed"):
            opened.append((brace != "{", token.end()))
            boxes += brace != "{"
    return found


def _formatted(response: str) -> bool:
    """One think block, then one answer block, neither empty, and nothing else but white space."""
    if any(response.count(tag) != 1 for tag in TAGS):
        return False
    before, rest = response.split(_THINK)
    if _THINK_END not in rest:
        return False
    thought, rest = rest.split(_THINK_END)
    between, _, rest = rest.partition(_ANSWER)
    answer, closed, after = rest.partition(_ANSWER_END)
    outside = visible(before + between + after).strip()
    return bool(closed) and not outside and bool(visible(thought).strip()) and bool(visible(answer).strip())


def _overlap(answer: str, truth: str) -> float:
    left, right = parse_box(answer), parse_box(f"[{truth}]")
    return iou(left, right) if left and right else 0.0


def _choice(question: Question, answer: str) -> float:
    if not question.choices:
        return float(same_letter(answer, question.answer))
    return float(same_choice(answer, question.choices, question.answer))


_COMPARERS: Mapping[str, Callable[[Question, str], float]] = {
    "integer": lambda question, answer: float(same_integer(answer, question.answer)),
    "float": lambda question, answer: float(same_float(answer, question.answer, question.precision)),
    "math": lambda question, answer: float(same_math(answer, question.answer)),
    "choice": _choice,
    "list": lambda question, answer: float(same_list(answer, question.answer)),
    "text": lambda question, answer: float(same_text(answer, question.answer)),
}


def score_response(question: Question, response: str) -> Score:
    """The verdict on a response to a question, by the question's kind; a box is right from an overlap of `HIT` on.

    A choice without listed choices has a letter as truth.
    """
    found = extract(response, MAX_LENGTH if question.kind == "box" else CAP)
    if question.kind == "box":
        overlap = 0.0 if found.text is None else _overlap(found.text, question.answer)
        return Score(float(overlap >= HIT), found.text, found.formatted, overlap)
    correct = 0.0 if found.text is None else _COMPARERS[question.kind](question, found.text)
    return Score(correct, found.text, found.formatted)
