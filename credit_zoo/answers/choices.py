"""When an answer picks an option: by its letter, its text, or both; never by resemblance.

Decisions where graders may reasonably differ:
- `Option C`, `The answer is C` and `I think C` are C; any other prose is not looked into, so a sentence about the
  missing number is wrong, and so is a synonym of the right option.
- Joined words are the option (`lightpurple`); a rounded decimal of a fraction is not (`0.727` for `8/11`).
- A letter with a text that is not its option (`(B) 6/11`) contradicts itself and is wrong.
- An option's very text goes before the letter: among the options B, A, C the answer `B` is the option B. Any other
  single letter is a place in the list: among (b), (a) the answer `B` is (a), and `(b)` is (b).
- For names of classes an added maker (`Boeing 717`) or gloss in brackets is accepted, a shorter name is not.
"""

import re
from collections.abc import Sequence

from credit_zoo.answers.math_equality import same_math
from credit_zoo.answers.plain_text import CAP, clean, key, unwrap

_LEAD = re.compile(
    r"(?:so |thus |hence )?(?:i think |(?:the |my )?(?:correct |right |best |final )*(?:answer|option|choice|letter)"
    r"(?: is)?\s*:?\s+|(?:option|choice)(?=\())(?:is )?(?:option |choice )?",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\]]?\s*[.:]?")
_LETTER_THEN_TEXT = re.compile(r"(?:[(\[]\s*([A-Za-z])\s*[)\]]\s*[.:]?|([A-Za-z])\s*[.:)])\s*(\S.*)", re.DOTALL)
_LETTERS = re.compile(r"[(\[]?[A-Za-z][)\]]?(?:(?:\s*[,;&/]\s*|\s+and\s+|\s+)[(\[]?[A-Za-z][)\]]?)*\.?")
_MORE = re.compile(r"\b(?:or|not|either|neither)\b|[(\[]?\b[B-HJ-Z]\b[)\]]?")
_SIMPLE = re.compile(r"[^:,;]*")
_INNER_DASH = re.compile(r"[^\s(\[{]\s*[-+]")
_ALONE = re.compile(r"[^\w\s]")
_GLOSS = re.compile(r"\s*\([^()]*\)\s*$")
_MAKERS = frozenset({
    "airbus", "antonov", "beechcraft", "boeing", "bombardier", "canadair", "cessna", "dassault", "douglas", "embraer",
    "fairchild", "fokker", "gulfstream", "hawker", "ilyushin", "lockheed", "mcdonnell", "piper", "saab", "siddeley",
    "supermarine", "tupolev", "yakovlev",
})  # fmt: skip


def _bare(text: str) -> str:
    """The cleaned answer without dress and without the words that lead to an answer; empty if too long."""
    text = text.strip()
    if len(text) > CAP:
        return ""
    text = unwrap(clean(text))
    return unwrap(_LEAD.sub("", text, count=1)) if _LEAD.match(text) else text


def letters(text: str) -> frozenset[str]:
    """The option letters that a text consists of: `A, C` and `(A)`, but not `AC` or a sentence."""
    if not _LETTERS.fullmatch(text):
        return frozenset()
    found = re.findall("[A-Za-z](?![a-z])", re.sub(r"\band\b", " ", text))
    return frozenset(letter.upper() for letter in found)


def same_letter(answer: str, truth: str) -> bool:
    """Whether the answer names the truth's letter or letters and no other; a truth in words is compared as text."""
    wanted, bare = letters(clean(truth)), _bare(answer)
    if not wanted or not bare:
        return same_text(answer, truth)
    led = _LETTER_THEN_TEXT.fullmatch(bare)
    if led and not letters(bare):
        return {(led.group(1) or led.group(2)).upper()} == wanted and not _MORE.search(led.group(3))
    return letters(bare) == wanted


def picked(answer: str, choices: Sequence[str]) -> str | None:
    """The choice that an answer picks, as its key; None if it picks none or more than one."""
    bare = _bare(answer)
    keys = [key(choice) for choice in choices]
    exact = [key(choice) for choice in choices if bare and clean(choice) in (clean(answer), bare)]
    if exact:
        return exact[0]
    letter = _LETTER.fullmatch(bare)
    if letter:
        return _lettered(letter.group(1), keys)
    if bare and key(answer) in keys:
        return key(answer)
    led = _LETTER_THEN_TEXT.fullmatch(bare)
    if led:
        chosen = _lettered(led.group(1) or led.group(2), keys)
        return chosen if chosen is not None and chosen == _by_value(led.group(3), choices) else None
    return _by_value(bare, choices)


def _lettered(letter: str, keys: Sequence[str]) -> str | None:
    index = ord(letter.upper()) - ord("A")
    return keys[index] if index < len(keys) else None


def _by_value(text: str, choices: Sequence[str]) -> str | None:
    """The one choice that has the text's key or, for plain numbers, its value; times and ranges have none."""
    keys = [key(choice) for choice in choices]
    if key(text) in keys:
        return key(text)
    found = {key(choice) for choice in choices if _plain(choice) and _plain(text) and same_math(text, choice)}
    return found.pop() if len(found) == 1 else None


def _plain(text: str) -> bool:
    text = clean(text[:CAP])
    return text.count("/") < 2 and not _INNER_DASH.search(text) and bool(_SIMPLE.fullmatch(text))


def same_choice(answer: str, choices: Sequence[str], truth: str) -> bool:
    """Whether the answer picks the choice whose text is `truth`."""
    chosen = picked(answer, choices)
    return bool(chosen) and chosen == key(truth)


def same_text(answer: str, truth: str) -> bool:
    """The same words: case, spaces, a leading article, a final stop and LaTeX dress aside."""
    answer = answer.strip()
    return len(answer) <= CAP and bool(key(answer)) and key(answer) == key(truth)


def _class_key(name: str) -> str:
    return "".join(_ALONE.sub("", key(name)).split())


def same_class(answer: str, truth: str) -> bool:
    """The same class name: hyphens, apostrophes and spaces aside, with a known maker before it or a gloss after."""
    answer = unwrap(clean(answer)) if len(answer.strip()) <= CAP else ""
    words = _GLOSS.sub("", answer).split()
    while len(words) > 1 and words[0].casefold() in _MAKERS:
        if _class_key(" ".join(words)) == _class_key(truth):
            return True
        words = words[1:]
    return bool(words) and _class_key(" ".join(words)) == _class_key(truth) != ""
