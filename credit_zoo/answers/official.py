r"""The published scoring rules, bug for bug, reported beside ours and never mixed with it.

Each rule gets the content of the response's first `<answer>` block, or the whole response where there is none: where
the publication has a language model pick the answer out first, that step is left out, and the docstring says so.
There is no rule for Geometry3K: PEPO's (mathruler) has sympy evaluate the model's text, and does not come back from
`9**9**9**9`. All rules are total, and fast on any text.
"""

import re
from collections.abc import Callable, Mapping

from credit_zoo.answers.plain_text import CAP
from credit_zoo.question import Question

_BLOCK = ("<answer>", "</answer>")
_NUMBERS = re.compile(r"\[(\d+),\s*(\d+),\s*(\d+),\s*(\d+)\]")


def _said(response: str) -> str:
    start = response.find(_BLOCK[0])
    end = response.find(_BLOCK[1], start + len(_BLOCK[0]))
    return (response[start + len(_BLOCK[0]) : end] if 0 <= start < end else response).strip()


def distance(left: str, right: str) -> int:
    """Levenshtein's distance: insertions, deletions and replacements from one text to the other."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def mathvista(question: Question, response: str) -> float:
    """MathVista's normaliser (lupantech/MathVista), without GPT-4's extraction before it.

    Any text becomes a choice: the first letter in parentheses, a capital alone, else the choice nearest by edit
    distance, so that an empty answer is right for 16.8% of testmini. 14.9 is cut to the integer 14. Longer texts than
    256 characters are cut there first, which is ours.
    """
    text = _said(response)[:CAP]
    if question.choices:
        letter = re.search(r"\(([a-zA-Z])\)", text)
        place = ord(letter[1].upper() if letter else text) - ord("A") if letter or len(text) == 1 else -1
        if 0 <= place < len(question.choices):
            return float(question.choices[place] == question.answer)
        text = letter[1].upper() if letter else text
        return float(min(question.choices, key=lambda choice: distance(text, choice)) == question.answer)
    try:
        if question.kind == "integer":
            text = str(int(float(text)))
        elif question.kind == "float":
            text = str(round(float(text), question.precision or 0))
    except (ValueError, OverflowError):
        return 0.0
    return float(text == question.answer)


def logicvista(question: Question, response: str) -> float:
    """PEPO's: the last letter that stands alone, else the first letter of any word, so that `cat` is C.

    The three questions with two right letters, which PEPO leaves out, are wrong here. The authors' own score has a
    language model pick the letters out.
    """
    text = _said(response)
    found = re.findall(r"\b[A-Za-z]\b", text) or re.findall(r"[A-Za-z]", text)[:1]
    return float(bool(found) and found[-1].upper() == question.answer)


def puzzles(question: Question, response: str) -> float:
    """LLM-PuzzleTest's: the truth is a part of what was said, whatever else is.

    `19` counts for `9`, `I do not know` for `No`, and so does a list of all options.
    """
    return float(question.answer.lower() in _said(response).lower())


def mathverse(question: Question, response: str) -> float:
    """PEPO's: the whole answer is the right letter, so that `B. 45°` is wrong.

    The authors' own score has GPT-4 extract and judge. An open answer is right if it is the truth's very text.
    """
    truth = question.answer
    if truth in question.choices:
        truth = chr(ord("A") + question.choices.index(truth))
    return float(_said(response) == truth)


def vlm_r1(question: Question, response: str) -> float:
    """VLM-R1's evaluation: the last four whole numbers in brackets within braces, overlap more than a half.

    Only inside `<answer>`; numbers with a fraction are not read; right and bottom edges are moved by a pixel for the
    part that both boxes share, not for the boxes.
    """
    start, end = (response.find(tag) for tag in _BLOCK)
    text = response[start:end] if 0 <= start < end else ""
    inside = text[text.find("{") + 1 : text.rfind("}")] if "{" in text else ""
    found = _NUMBERS.findall(inside)
    if not found or max(map(len, found[-1])) > CAP:
        return 0.0
    x1, y1, x2, y2 = map(int, found[-1])
    left, top, right, bottom = map(float, question.answer.split(","))
    width, height = min(x2, right) - 1 - max(x1, left), min(y2, bottom) - 1 - max(y1, top)
    shared = (width + 1) * (height + 1) if width > 0 and height > 0 else 0.0
    joined = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - shared
    return float(shared > joined / 2)


def visual_rft(question: Question, response: str) -> float:
    """Visual-RFT's: what was said is a part of the class's name, or the other way round, spaces and case aside.

    An empty answer is right for every picture.
    """
    said, truth = (text.replace(" ", "").replace("_", "").lower() for text in (_said(response), question.answer))
    return float(said in truth or truth in said)


RULES: Mapping[str, Callable[[Question, str], float]] = {
    "fgvc_aircraft": visual_rft,
    "flowers102": visual_rft,
    "lisa_grounding": vlm_r1,
    "logicvista": logicvista,
    "mathverse": mathverse,
    "mathvista": mathvista,
    "puzzles": puzzles,
    "refcoco": vlm_r1,
}
