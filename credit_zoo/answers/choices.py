"""When an answer picks an option: by its letter, its text, or both; never by resemblance.

Decisions where graders may reasonably differ:
- `Option C`, `The answer is C`, `C is correct` and `I think C` are C; any other prose is not looked into, so a
  sentence about the missing number is wrong, and so is a synonym of the right option.
- Joined words are the option (`lightpurple`); a rounded decimal of a fraction is not (`0.727` for `8/11`).
- A letter with a text that is not its option (`(B) 6/11`, `C = 45`) contradicts itself and is wrong. Where the options
  are not known, any text may follow the letter, save one that takes it back, doubts it or names another letter.
- An option's very text goes before the letter: among the options B, A, C the answer `B` is the option B. Any other
  single letter is a place in the list: among (b), (a) the answer `B` is (a), and `(b)` is (b).
- `a` and `an` are articles only before a word of an option that is written in small letters: `A D` is no `D`.
"""

import re
from collections.abc import Sequence

from credit_zoo.answers.math_equality import same_math
from credit_zoo.answers.plain_text import CAP, clean, key, unwrap

_LEAD = re.compile(
    r"(?:so |thus |hence |therefore,? )?(?:i think |it(?:'s| is) |"
    r"(?:the |my )?(?:correct |right |best |final )*(?:answer|option|choice|letter|ans\.?)(?: is)?(?:\s*[:=]\s*|\s+)|"
    r"(?:option|choice)(?=\()|答案(?:是|为)?\s*:?\s*|选(?:项|择)?\s*:?\s*)(?:is )?(?:option |choice )?",
    re.IGNORECASE,
)
_BOLD_LETTER = re.compile(r"\*\*\s*(\W?[A-Za-z]\W{0,2})\*\*")
_PRAISED = re.compile(
    r"([(\[]?[A-Za-z][)\]]?) is (?:the )?(?:correct|right|best|answer|one)(?: (?:answer|option|choice|one))?",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\]]?\s*[.:!]?")
_LETTER_THEN_TEXT = re.compile(
    r"(?:[(\[]\s*([A-Za-z])\s*[)\]]\s*([.:=]|-(?=\s))?|([A-Za-z])(?:\s*([.:)=]|-(?=\s))|(?=\s+\()))\s*(\S.*)", re.DOTALL
)
_TEXT_THEN_LETTER = re.compile(r"(.*\S)\s*=\s*([A-Za-z])", re.DOTALL)
_LETTERS = re.compile(r"[(\[]?[A-Za-z][)\]]?(?:(?:\s*[,;&/]\s*|\s+and\s+|\s+)[(\[]?[A-Za-z][)\]]?)*\s*[.:]?")
_DOUBT = re.compile(
    r"\b(?:or|either|neither|nor|but|though|although|however|instead|rather|except|unless|maybe|perhaps|possibly|"
    r"probably|likely|unlikely|presumably|nope|unsure|uncertain|doubt\w*|guess\w*|seems?|might|could|wrong|incorrect|"
    r"untrue|mistaken?|fails?|contradicts?|eliminated?|excluded?|rejected|discarded|dismissed|(?:ruled?|crossed) out|"
    r"(?:is|was|are|does|do|has|can|wo|would|should|could)(?:n't| not)|(?:cannot|can't) be(?! determined)|"
    r"not (?:[a-z]\b|it\b|this|that|sure|certain|correct|right|the (?:right|correct|answer)|possible|an? option)|"
    r"not\s*$)\b|\?",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"(?:(?:it|that|this)(?:'s|\s+is|\s+was)|is|was|are|can|may|must|should|would|will|has|does|did)\b", re.IGNORECASE
)
_PRAISE = re.compile(
    r"(?:it's|that's|(?:(?:it|that|this)\s+)?(?:is|was)|must be|should be)\s+"
    r"(?:the\s+)?(?:correct|right|best|answer)\b",
    re.IGNORECASE,
)
_OTHER_LETTER = re.compile(
    r"[(\[]\s*[A-Z]\s*[)\]]|^[A-Z](?:\s*$|\s*[,;:/]|\s+(?:is|are|and|also|too|as)\b)|"
    r"(?:[,;/&|]\s*|\b(?i:and|not|option|choice|answer|is|be|than|over|to|also)\s+)[B-HJ-Z](?![-'\w])|"
    r"(?:->|→|⇒|:|\b(?i:actually|think|hmm|so|then|pick|choose|select|wait))\s*[A-Z]\s*[.!]?$"
)
_SIMPLE = re.compile(r"[^:,;]*")
_INNER_DASH = re.compile(r"[^\s(\[{]\s*[-+]")
_ARTICLE = re.compile(r"an?\s+(?=[^\W\d_]{2})", re.IGNORECASE)


def _bare(text: str) -> str:
    """The cleaned answer without dress and without the words that lead to an answer; empty if too long."""
    text = text.strip()
    if len(text) > CAP:
        return ""
    text = _BOLD_LETTER.sub(r"\1", unwrap(clean(text)), count=1)
    text = unwrap(_LEAD.sub("", text, count=1)) if _LEAD.match(text) else text
    praised = _PRAISED.fullmatch(text)
    return praised.group(1) if praised else text


def letters(text: str) -> frozenset[str]:
    """The option letters that a text consists of: `A, C` and `(A)`, but not `AC` or a sentence."""
    if not _LETTERS.fullmatch(text):
        return frozenset()
    found = re.findall("[A-Za-z](?![a-z])", re.sub(r"\band\b", " ", text))
    return frozenset(letter.upper() for letter in found)


def _led(text: str) -> tuple[str, str, str] | None:
    """The letter that a text begins with, the sign after it, and the text that follows; `45 = C` as `C = 45`."""
    match = _LETTER_THEN_TEXT.fullmatch(text)
    if match is None:
        turned = _TEXT_THEN_LETTER.fullmatch(text)
        return (turned.group(2).upper(), "=", turned.group(1)) if turned else None
    letter, sign = (match.group(1), match.group(2)) if match.group(1) else (match.group(3), match.group(4))
    return letter.upper(), sign or "", match.group(5)


def _takes_back(text: str) -> bool:
    """Whether what follows a letter unsays it: a doubt, a verdict against it, another letter."""
    if _DOUBT.search(text) or _OTHER_LETTER.search(text) or letters(text):
        return True
    return bool(_VERB.match(text)) and not _PRAISE.match(text)


def same_letter(answer: str, truth: str) -> bool:
    """Whether the answer names the truth's letter or letters and no other; a truth in words is compared as text."""
    wanted, bare = letters(clean(truth)), _bare(answer)
    if not wanted or not bare:
        return same_text(answer, truth)
    led = _led(bare)
    if led and not letters(bare):
        letter, sign, text = led
        return {letter} == wanted and sign != "=" and not _takes_back(text)
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
    if bare and (worded := _by_words(answer, choices)):
        return worded
    led = _led(bare)
    if led and not (led[1] == "=" and _lettered(led[0], keys) is None):
        return _agreed(led, choices)
    return _by_value(bare, choices)


def _agreed(led: tuple[str, str, str], choices: Sequence[str]) -> str | None:
    """The choice of a letter, if the text after the letter is that choice; a dash may be its sign."""
    letter, sign, text = led
    inner = text[1:-1].strip() if text[0] == "(" and text[-1] == ")" else text
    said = {_by_value(each, choices) for each in (text, inner, *([f"-{text}"] if sign == "-" else []))}
    chosen = _lettered(letter, [key(choice) for choice in choices])
    return chosen if chosen is not None and chosen in said else None


def _lettered(letter: str, keys: Sequence[str]) -> str | None:
    index = ord(letter.upper()) - ord("A")
    return keys[index] if index < len(keys) else None


def _by_words(text: str, choices: Sequence[str]) -> str | None:
    """The choice that has the text's key; without one, the only one that has it but for an article."""
    keys = [key(choice) for choice in choices]
    if key(text) in keys:
        return key(text)
    found = {key(choice) for choice in choices if _same_words(text, choice)}
    return found.pop() if len(found) == 1 else None


def _by_value(text: str, choices: Sequence[str]) -> str | None:
    """The one choice that has the text's words or, for plain numbers, its value; times and ranges have none."""
    if worded := _by_words(text, choices):
        return worded
    found = {key(choice) for choice in choices if _plain(choice) and _plain(text) and same_math(text, choice)}
    return found.pop() if len(found) == 1 else None


def _plain(text: str) -> bool:
    text = clean(text[:CAP])
    return text.count("/") < 2 and not _INNER_DASH.search(text) and bool(_SIMPLE.fullmatch(text))


def same_choice(answer: str, choices: Sequence[str], truth: str) -> bool:
    """Whether the answer picks the choice whose text is `truth`."""
    chosen = picked(answer, choices)
    return bool(chosen) and chosen == key(truth)


def _without_article(text: str) -> str:
    return _ARTICLE.sub("", unwrap(clean(text)), count=1)


def _same_words(answer: str, truth: str) -> bool:
    """Equal keys; before a word in small letters an article may be left out or added."""
    if key(answer) == key(truth):
        return True
    first = (_without_article(truth).split() or [""])[0]
    common = first[1:].islower() and first.isalpha()
    return common and key(_without_article(answer)) == key(_without_article(truth))


def same_text(answer: str, truth: str) -> bool:
    """The same words: case, spaces, a leading article, a final stop and LaTeX dress aside."""
    answer = answer.strip()
    return len(answer) <= CAP and bool(key(answer)) and _same_words(answer, truth)
