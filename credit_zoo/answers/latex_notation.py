r"""LaTeX and its ASCII cousins in one notation, which the readers of `math_values` and `math_expressions` understand.

Signs: `√ π ° ∠ ⌒ △ ≤ ≥ ≠ ≅ ∥ ⊥ ∼ ∈ ∪ ∞ ± * / ^`, and `\frac` as the one command. What stood apart stays apart: a
command, a dollar sign or a bracket that is taken away leaves a space, so that `5$6$` is two numbers.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from credit_zoo.answers.exact_numbers import PI

_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "theta": "θ", "lambda": "λ", "mu": "μ", "rho": "ρ",
    "varphi": "φ", "phi": "φ", "omega": "ω", "Omega": "Ω",
}  # fmt: skip
_SIGNS = {
    "lbrace": "{", "rbrace": "}", "langle": "⟨", "rangle": "⟩", "infty": "∞", "infinity": "∞", "cup": "∪", "in": "∈",
    "pm": "±", "parallel": "∥", "perp": "⊥", "cong": "≅", "sim": "∼", "mid": "|", "vert": "|", "lvert": "|",
    "rvert": "|", "colon": ":", "triangle": "△", "angle": "∠", "measuredangle": "∠", "cdot": "*", "times": "*",
    "ast": "*", "div": "/", "leqslant": "≤", "leq": "≤", "le": "≤", "geqslant": "≥", "geq": "≥", "ge": "≥", "lt": "<",
    "gt": ">", "neq": "≠", "ne": "≠", "approx": "=", "widehat": "⌒", "overarc": "⌒", "wideparen": "⌒",
    "overgroup": "⌒", "pi": PI, "sqrt": "√", **_GREEK,
}  # fmt: skip
_GAPS = "left|right|displaystyle|[bB]igg?[lr]?|quad|qquad|limits|mathrm|mathbf|textrm|textbf|text|operatorname|mbox"
_LINES = "overline|overleftrightarrow|overrightarrow|vec|bar"


def _vanished(text: str) -> str:
    """Dollar signs in pairs are brackets of mathematics; where one is left over, one before a number is money."""
    bracket = r"(?<!\\)\$" if len(re.findall(r"(?<!\\)\$", text)) % 2 == 0 else r"(?<!\\)\$(?!\s*\d)"
    return re.sub(bracket, " ", text).replace("\\$", "$")


def _repeating(match: re.Match[str]) -> str:
    r"""`0.1\overline{6}` as a fraction."""
    whole, once, again = match.group(1) or "0", match.group(2), match.group(3)
    nines = (10 ** len(again) - 1) * 10 ** len(once)
    return rf"\frac{{{int(whole + once + again) - int(whole + once)}}}{{{nines}}}"


def _sexagesimal(match: re.Match[str]) -> str:
    """`30°15'` as degrees; what has 60 minutes or more stays as it is."""
    degrees, minutes, seconds = (Fraction(part or 0) for part in match.groups())
    if minutes >= 60 or seconds >= 60:
        return match.group()
    total = degrees + minutes / 60 + seconds / 3600
    return rf"\frac{{{total.numerator}}}{{{total.denominator}}}°"


_Rewrite = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
_REWRITES: tuple[_Rewrite, ...] = (
    (re.compile(r"(?<=\d)\\,(?=\d{3}(?!\d))"), "{,}"),
    (re.compile(r"\\(?:overset|stackrel)\s*\{\\frown\}"), "⌒"),
    (re.compile(r"(?<!\d)(\d{0,9})\.(\d{0,9})\\overline\s*\{(\d{1,9})\}"), _repeating),
    (re.compile(r"\\(?:text|mathrm|textrm|mathbf|textbf|operatorname|mbox)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(rf"\\(?:{_GAPS})(?![A-Za-z])|\\[!,;: ()\[\]]|~"), " "),
    (re.compile(rf"\\(?:{_LINES})(?![A-Za-z])(?=\s*\{{?\s*[A-Za-z])"), " "),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\*?\s*\\degree|\\circ(?![A-Za-z])"), "°"),
    (re.compile(r"(?<=[\d)}])\s*(?:deg(?:rees?)?\b\.?|度)"), "°"),
    (re.compile(r"\^\s*\{\s*\\prime\s*\\prime\s*\}|''"), '"'),
    (re.compile(r"\^\s*(?:\{\s*(?:\\prime|')\s*\}|\\prime|')|\\prime"), "'"),
    (re.compile(r"\\([A-Za-z]+)"), lambda command: _SIGNS.get(command.group(1), command.group())),
    (re.compile(r"(?<![A-Za-z])sqrt"), "√"),
    (re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])"), PI),
    (re.compile(r"(?<![A-Za-z\d.])(?:oo|infinity)(?![A-Za-z\d])"), "∞"),
    (re.compile(r"<="), "≤"),
    (re.compile(r">="), "≥"),
    (re.compile(r"!="), "≠"),
    (re.compile(r"\+/-|\+-"), "±"),
    (re.compile(r"[≈≃]"), "="),
    (re.compile(r"\\([%{}])"), r"\1"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\bper ?cent\b", re.IGNORECASE), "%"),
    (re.compile(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)"), "*"),
    (re.compile(r"\bangles?\s+(?=\{?\s*[A-Z\d])", re.IGNORECASE), "∠"),
    (re.compile(r"\barc\s+(?=\{?\s*[A-Z])"), "⌒"),
    (re.compile(r"(?<![A-Za-z])m\s*(?=[∠⌒])"), ""),
    (re.compile(r"(\d{1,9})\s*°\s*(\d{1,2}(?:\.\d{1,9})?)\s*(?:'|min(?:ute)?s?\b\.?)"
                r"(?:\s*(\d{1,2}(?:\.\d{1,9})?)\s*(?:\"|sec(?:ond)?s?\b\.?))?"), _sexagesimal),
    (re.compile(r"(?<![\d./^])(\d{1,9})\s+(\d{1,9})\s*/\s*(\d{1,9})(?![\d.])"), r"\1\\frac{\2}{\3}"),
)  # fmt: skip
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d|,\d)")
_ARGUMENT = re.compile(r"(?:\\frac|√|[\]}^_])\s*$")


def notation(text: str) -> str:
    """The text in the one notation; what is not known in it stays as it was."""
    text = _vanished(text)
    for pattern, plain in _REWRITES:
        text = pattern.sub(plain, text)
    return _without_thousands(text).replace("{,}", "").strip()


def _separates(text: str, at: int) -> bool:
    """Whether a comma at this place parts items: inside brackets, save those that hold a command's argument."""
    opened: list[bool] = []
    for place, sign in enumerate(text[:at]):
        if sign in "([{⟨":
            opened.append(sign != "{" or not _ARGUMENT.search(text[max(0, place - 8) : place]))
        elif sign in ")]}⟩" and opened:
            opened.pop()
    return bool(opened) and opened[-1]


def _without_thousands(text: str) -> str:
    """`5,150` as `5150`, but `(5,150)` as it is; a group that begins with 0, as in `(1,050)`, is no item of its own."""
    parts, start = [], 0
    for match in _THOUSANDS.finditer(text):
        if ",0" in match.group() or not _separates(text, match.start()):
            parts += [text[start : match.start()], match.group().replace(",", "")]
            start = match.end()
    return "".join([*parts, text[start:]])
