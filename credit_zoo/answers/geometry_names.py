"""What an answer's value is of: `x_1`, `AB`, `m∠ABC`, an arc, a function of x."""

import re
from dataclasses import dataclass

_NAME = re.compile(
    r"([∠△⌒]?)\s*\|?\{?\s*([^\W\d_](?:[\s']*[^\W\d_]){0,3}'*|\d{1,2})\s*\}?\|?"
    r"(?:\s*_\s*\{?\s*([^\W_]{1,3}|[△∠]\s*[A-Z]{1,4})\s*\}?|(\d{1,2}))?"
)
_FUNCTION = re.compile(r"f\s*\(\s*x\s*\)")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Name:
    """The kind is a sign for angle, triangle or arc, or empty; an arc is no segment."""

    kind: str
    letters: str
    subscript: str

    def matches(self, other: "Name") -> bool:
        """Whether both may name the same thing: angle and triangle may go without their sign."""
        kinds = {self.kind, other.kind}
        same = (self.letters, self.subscript) == (other.letters, other.subscript)
        return same and (len(kinds) == 1 or ("" in kinds and "⌒" not in kinds))

    @property
    def symbol(self) -> str:
        """The name as a symbol of an expression."""
        return f"{self.kind}{self.letters}" + (f"_{self.subscript}" if self.subscript else "")

    @property
    def is_variable(self) -> bool:
        """Whether it is a letter, perhaps with a subscript."""
        return not self.kind and len(self.letters) == 1


def parse_name(text: str) -> Name | None:
    """The name that a text in `notation` is; None for any other text. `f(x)` is y; segments and angles turn round."""
    if _FUNCTION.fullmatch(text):
        return Name("", "y", "")
    match = _NAME.fullmatch(text)
    if match is None or (match.group(2).isdecimal() and match.group(1) not in ("∠", "⌒")):
        return None
    letters = _SPACES.sub("", match.group(2))
    points = re.findall("[A-Z]'*", letters)
    turns = len(points) == 2 or (len(points) == 3 and match.group(1) == "∠")
    if turns and "".join(points) == letters:
        letters = min(letters, "".join(reversed(points)))
    return Name(match.group(1), letters, _SPACES.sub("", match.group(3) or match.group(4) or ""))
