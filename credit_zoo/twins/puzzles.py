"""The twin of PuzzleVQA: an abstract pattern with a missing part, to be filled by the pattern's rule.

Rules go by number, colour, shape or size, or by two of these: that is the category. Numbers are asked for
with four choices or none; other parts with four choices, sizes with three.
"""

from credit_zoo.twins import puzzle_attributes as looks
from credit_zoo.twins import puzzle_numbers as numbers
from credit_zoo.twins.long_solutions import longer
from credit_zoo.twins.puzzle_parts import Numbered
from credit_zoo.twins.twin import Family, Twin

FAMILIES: dict[str, Family] = {
    "opposite numbers": numbers.OppositeNumbers(),
    "opposite sums": numbers.OppositeSums(),
    "grid rows": numbers.GridRows(),
    "equal rows": numbers.EqualRows(),
    "sequence": numbers.Sequence(),
    "products": numbers.Products(),
    "sides": numbers.Sides(),
    "heights": numbers.Heights(),
    "color numbers": looks.Lookup("color", "number"),
    "size colors": looks.Lookup("size", "color"),
    "shape colors": looks.Lookup("kind", "color"),
    "opposite colors": looks.OppositeColors(),
    "mixed colors": looks.Mixing(),
    "color cycle": looks.Cycle("color"),
    "size cycle": looks.Cycle("size"),
    "shape rows": looks.Latin("kind"),
    "color rows": looks.Latin("color"),
    "reflection": looks.Reflection(),
}
WORDS = ("size colors", "shape colors")  # their answers are words, as those of all families that are not numbered
NUMBERS = {name: family for name, family in FAMILIES.items() if isinstance(family, Numbered)}
TWIN = Twin(name="puzzles", version=1, families=FAMILIES, longer=longer(NUMBERS, *WORDS))
