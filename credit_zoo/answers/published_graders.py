r"""The published scoring rules, bug for bug, reported beside ours and never mixed with it.

A rule that does not say otherwise gets the content of the response's first `<answer>` block, or the whole response
where there is none: where the publication has a language model pick the answer out first, that step is left out, and
the docstring says so. There is no rule for Geometry3K: PEPO's (mathruler) has sympy evaluate the model's text, and
does not come back from `9**9**9**9`. All rules are total, and fast on any text.
"""

import re
import string
from collections.abc import Callable, Mapping

from credit_zoo.answers.bounding_boxes import rescale
from credit_zoo.answers.plain_text import CAP
from credit_zoo.question import Question

_BLOCK = ("<answer>", "</answer>")
_OPENED, _CLOSED = (re.compile(rf"<\s*{tag}answer\s*>", re.IGNORECASE) for tag in ("", r"/\s*"))
_BOXED = re.compile(r"\\boxed\s*\{")
_WHOLE, _DECIMAL = r"(\d+)", r"(\d+(?:\.\d*)?|\.\d+)"
_NUMBERS, _FRACTIONS = (re.compile(r"\[" + r",\s*".join([one] * 4) + r"\]") for one in (_WHOLE, _DECIMAL))
_MARKS = str.maketrans("", "", string.punctuation.replace(":", ""))
# What mathruler takes off, by hand or by pylatexenc, before it compares two texts.
_UNITS = "degree|centimeter|cm|meter|mile|second|minute|hour|day|week|month|year|foot|feet|inch|yard"
_TEXT = re.compile(r"\\text\{(.+)\}")
_BRACKETED = re.compile(r"(?P<left>\(*)(?P<inside>[^()\[\]]*)(?P<right>\)*)")
_DRESS = re.compile(
    rf"\\text\{{ .*|\^ *(?:\\circ|\{{\\circ\}})|(?:{_UNITS})(?:es)?s? *(?:\^[0-9]+)?|\\[%$!,\\()\[\]{{}}]|[$%{{}} \n]"
    r"|\\(?:left|right|displaystyle|quad|rm|bf|text|textbf|textit|textrm|emph|mathrm|boxed|fbox|underline)(?![a-z])"
)


def _said(response: str) -> str:
    start = response.find(_BLOCK[0])
    end = response.find(_BLOCK[1], start + len(_BLOCK[0]))
    return (response[start + len(_BLOCK[0]) : end] if 0 <= start < end else response).strip()


def _said_to_pepo(response: str) -> str:
    r"""PEPO's answer: the first block that is not empty, tags in any case and spacing; what follows an open tag, the
    closing tag of an empty block with it; else everything. `\boxed{}` at the end and one full stop come off.
    """
    text = response.strip()
    if opened := _OPENED.search(response):
        closed = _CLOSED.search(response, opened.end())
        inside = response[opened.end() : closed.start()].strip() if closed else ""
        text = inside or response[opened.end() :].strip()
    if (boxed := _BOXED.search(text)) and text.endswith("}"):
        text = text[boxed.end() : -1].strip()
    text = text[:-1].strip() if text.endswith((".", "。")) else text
    return text.replace("π", r"\pi")


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

    An empty block is A, by its closing tag. The three questions with two right letters, which PEPO leaves out, are
    wrong here. The authors' own score has a language model pick the letters out.
    """
    text = _said_to_pepo(response)
    found = re.findall(r"\b[A-Za-z]\b", text) or re.findall(r"[A-Za-z]", text)[:1]
    return float(bool(found) and found[-1].lower() == question.answer.lower().strip())


def puzzles(question: Question, response: str) -> float:
    """LLM-PuzzleTest's (declare-lab/LLM-PuzzleTest@9b3a074, `main.py`), without the second question to the model.

    `(B)` alone in brackets is the second option. Of what was said, or of that option, it is right if its one capital
    of A to D is the truth's letter, or if the truth is a part of it, punctuation aside: `19` counts for `9`, `I do not
    know` for `No`, and so does a list of all options. The paper's own tables (`PuzzleVQA/main.py`) take the last
    letter instead, in brackets where there are any.
    """
    options, truth, said = question.choices[:4], question.answer, _said(response)
    lettered = re.findall(r"\(([ABCD])\)", said)
    if len(lettered) == 1 and options:
        said = dict(zip("ABCD", options, strict=False)).get(lettered[0], options[0])
    capitals = re.findall("[ABCD]", said)
    letter = "ABCD"[options.index(truth)] if truth in options else ""
    part = truth.lower() in said.translate(_MARKS).lower()
    return float(capitals == [letter] or part or said.lower() == truth.lower())


def mathverse(question: Question, response: str) -> float:
    r"""PEPO's: the whole answer is the right letter, so that `B. 45°` is wrong and `b`, `(B)` and `$B$` are right.

    mathruler compares, after it has taken off LaTeX and units; that sympy may count `B+0` as B is left out. The
    authors' own score has GPT-4 extract and judge. An open answer is right if it is the truth's very text.
    """
    truth = question.answer
    if truth in question.choices:
        truth = chr(ord("A") + question.choices.index(truth))
    return float(_undressed(_said_to_pepo(response)) == _undressed(truth))


def _undressed(text: str) -> str:
    """What mathruler compares of an answer of at most `CAP` characters: without dress, and without brackets around."""
    whole = text[: CAP + 1].lower().strip()
    text_alone = _TEXT.fullmatch(whole)
    bare = _DRESS.sub("", text_alone[1].strip() if text_alone else whole)
    name, equals, value = bare.partition("=")
    bare = value if equals and len(name) <= 2 and "=" not in value else bare
    bracketed = _BRACKETED.fullmatch(bare)
    if bracketed and len(bracketed["left"]) == len(bracketed["right"]):
        return bracketed["inside"]
    return bare[1:-1] if re.fullmatch(r"\[[^()\[\]]*\]", bare) else bare


def vlm_r1(question: Question, response: str) -> float:
    """VLM-R1's evaluation: the last four whole numbers in brackets within braces, overlap more than a half.

    Only inside `<answer>`; numbers with a fraction are not read; a shared part of at most one pixel in width or height
    counts for nothing. A box in pixels of the resized picture is told in the original's first, as there. For a model
    that speaks thousandths their rule for InternVL holds: the first four numbers, braces or none, compared in
    thousandths. A model that speaks parts of 1 they do not foresee: fractions are read, and told in pixels.
    """
    frame = question.meta.get("frame")
    start = response.find(_BLOCK[0])
    end = response.find(_BLOCK[1], start)
    text = response[start:end] if 0 <= start < end else ""
    if frame != "thousandths":
        text = text[text.find("{") + 1 : text.rfind("}") + 1] if "{" in text else ""
    found = (_FRACTIONS if frame == "unit" else _NUMBERS).findall(text)
    numbers = found[0 if frame == "thousandths" else -1] if found else ()
    if not numbers or max(map(len, numbers)) > CAP:
        return 0.0
    x1, y1, x2, y2 = map(float, numbers)
    truth = question.answer
    if frame in ("resized", "unit"):
        x1, y1, x2, y2 = rescale((x1, y1, x2, y2), question.meta["span"], question.meta["size"])
        truth = question.meta["pixels"]
    left, top, right, bottom = map(float, truth.split(","))
    width, height = min(x2, right) - 1 - max(x1, left), min(y2, bottom) - 1 - max(y1, top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = (width + 1) * (height + 1)
    return float(shared / ((x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - shared) > 0.5)


def visual_rft(question: Question, response: str) -> float:
    """Visual-RFT's: what was said is a part of the class's name, or the other way round, spaces and case aside.

    Only an `<answer>` block within one line is read; an empty one is right for every picture.
    """
    for line in response.split("\n"):
        _, opened, rest = line.partition(_BLOCK[0])
        inside, closed, _ = rest.partition(_BLOCK[1])
        if opened and closed:
            said, truth = (text.replace(" ", "").replace("_", "").lower() for text in (inside, question.answer))
            return float(said in truth or truth in said)
    return 0.0


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
