"""The twin of MathVista: charts, tables, word and textbook problems, and a fifth of geometry.

A third of the questions have choices; the rest ask for an integer or a number with one decimal.
"""

from credit_zoo.twins import charts, pictures
from credit_zoo.twins.long_solutions import longer
from credit_zoo.twins.twin import Family, Twin

FAMILIES: dict[str, Family] = {
    "read off": charts.ReadOff(),
    "difference": charts.Difference(),
    "total": charts.Total(),
    "mean": charts.Mean(),
    "extreme": charts.Extreme(),
    "compare": charts.Compare(),
    "count above": charts.CountAbove(),
    "table row": pictures.TableRow(),
    "icons": pictures.Icons(),
    "prices": pictures.Prices(),
    "food chain": pictures.FoodChain(),
    "triangle area": pictures.TriangleArea(),
    "right angle": pictures.RightAngle(),
    "regular polygon": pictures.RegularPolygon(),
}
WITHOUT = ("mean", "extreme", "compare", "food chain", "right angle")  # their answers are words, choices or decimals
TWIN = Twin(name="mathvista", version=1, families=FAMILIES, longer=longer(FAMILIES, *WITHOUT))
