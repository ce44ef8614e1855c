"""The twin of PuzzleVQA: an abstract pattern with a missing part, to be filled by the pattern's rule.

Rules go by number, colour, shape or size, or by two of these: that is the category. Numbers are asked for
with four choices or none; other parts with four choices, sizes with three.
"""

from credit_zoo.twins import puzzle_attributes as looks
from credit_zoo.twins import puzzle_numbers as numbers
from credit_zoo.twins.twin import Twin

TWIN = Twin(
    name="puzzles",
    version=1,
    families={
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
    },
)
