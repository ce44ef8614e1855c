"""Answers as plain text: what a writer did not mean is taken away, what remains is compared.

`clean` undoes typography, `unwrap` takes off LaTeX and Markdown dress, `key` is what two texts must share to be
the same. Every function is linear in its input, and callers cap the length first.
"""

import re
import unicodedata

CAP = 256
END_TOKENS = (
    "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<end_of_turn>", "<eos>",
    "<pad>", "</s>", "<s>",
)  # fmt: skip

# Controls, soft hyphen, zero-width and direction marks, variation selectors, byte-order mark.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"
_SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉"
_RAISED = re.compile(f"[{_SUPERSCRIPTS}]+")
_LOWERED = re.compile(f"[{_SUBSCRIPTS}]+")
_DIGITS = str.maketrans(_SUPERSCRIPTS + _SUBSCRIPTS, "0123456789-0123456789")
_VULGAR = re.compile("[¼½¾⅐-⅞]")
# 掳 is the degree sign of a GBK text read as UTF-8; the official files of some benchmarks hold it.
_SIGNS = str.maketrans({
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "﹣": "-", "º": "°", "掳": "°", "˚": "°",
    "⁄": "/", "∕": "/", "×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "’": "'", "‘": "'", "“": '"', "”": '"',
    "、": ",", "\xa0": " ", "′": "'", "″": '"', "∶": ":", "。": ".", "∛": "\\sqrt[3]", "∜": "\\sqrt[4]",
})  # fmt: skip
_DRESS = (("$$", "$$"), ("$", "$"), ("\\[", "\\]"), ("\\(", "\\)"), ("**", "**"), ("`", "`"), ('"', '"'), ("'", "'"))
_COMMANDS = ("\\boxed", "\\fbox", "\\text", "\\textbf", "\\mathbf", "\\mathrm", "\\textrm", "\\displaystyle")
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
_GAPS = re.compile(r"(?<!\d)\s+|\s+(?!\d)")
_ARTICLE = re.compile(r"^the\s+(?=\w)")


def visible(text: str) -> str:
    """The text without end-of-turn tokens, control and zero-width characters."""
    for token in END_TOKENS:
        text = text.replace(token, "")
    return _INVISIBLE.sub("", text)


def clean(text: str) -> str:
    """NFKC with the signs of mathematics kept: `²` becomes `^{2}`, `₂` `_{2}`, `⅓` ` 1/3`, and a dash `-`."""
    text = visible(text).translate(_SIGNS)
    text = _RAISED.sub(lambda run: "^{" + run.group().translate(_DIGITS) + "}", text)
    text = _LOWERED.sub(lambda run: "_{" + run.group().translate(_DIGITS) + "}", text)
    text = _VULGAR.sub(lambda one: " " + unicodedata.normalize("NFKC", one.group()), text)
    return " ".join(visible(unicodedata.normalize("NFKC", text)).translate(_SIGNS).split())


def closing_brace(text: str, start: int) -> int:
    """The index of the brace that closes the one at `start`, or -1."""
    depth = 0
    for token in _BRACES.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(token.group(), 0)
        if depth == 0:
            return token.start()
    return -1


def _undress(text: str) -> str:
    for left, right in _DRESS:
        if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
            inner = text[len(left) : -len(right)]
            if left not in inner:
                return inner.strip()
    for command in _COMMANDS:
        if text.startswith(command + "{") and closing_brace(text, len(command)) == len(text) - 1:
            return text[len(command) + 1 : -1].strip()
    return text


def unwrap(text: str) -> str:
    r"""Takes off what is put around a whole answer: dollars, `\boxed{}`, `\text{}`, bold, quotes, a full stop."""
    text = text.strip()
    for _ in range(8):
        bare = _undress(text)
        if bare.endswith(".") and not bare.endswith(".."):
            bare = bare[:-1].rstrip()
        if bare == text:
            break
        text = bare
    return text


def squash(text: str) -> str:
    """The text without spaces, save those between two digits: `5 6` is not `56`."""
    return _GAPS.sub("", " ".join(text.split()))


_SPELLINGS = (
    (re.compile(r"\\left|\\right|\\[,;!]|\\displaystyle"), " "),
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\*?\s*\\degree|\\circ|\s*\bdegrees?\b"), "°"),
    (re.compile(r"\\sqrt"), "√"),
    (re.compile(r"√\s*\{\s*(\w+)\s*\}"), r"√\1"),
    (re.compile(r"\\pi\b"), "π"),
    (re.compile(r"\\(?:cdot|times)\b"), "*"),
    (re.compile(r"\\([%$&#_])"), r"\1"),
    (re.compile(r"\\[dt]frac"), r"\\frac"),
)


def key(text: str) -> str:
    """What two texts share when they are the same answer: case, spaces, `the`, dress and notation aside.

    Joined words (`lightpurple`) are the same as parted ones; accents are not dropped.
    """
    text = unwrap(clean(text)).casefold()
    for pattern, plain in _SPELLINGS:
        text = pattern.sub(plain, text)
    return squash(_ARTICLE.sub("", unwrap(text), count=1))
