"""The twin of LISA-Grounding: the object is not named but has to be inferred; the answer is its box.

A box is "left,top,right,bottom" in cells of 7 pixels, whole numbers from 0 to 12, as in the twin of RefCOCO.
"""

from credit_zoo.twins import grounding_comparisons as compared
from credit_zoo.twins import grounding_purposes as made
from credit_zoo.twins.twin import Twin

TWIN = Twin(
    name="lisa_grounding",
    version=2,
    shaded=True,
    families={
        "odd color": compared.OddOne("color"),
        "odd kind": compared.OddOne("kind"),
        "odd size": compared.OddOne("size"),
        "touching": compared.Touching(),
        "far away": compared.FarAway(),
        "hiding": compared.Hiding(),
        "gap": made.Gap(),
        "holding": made.Holding(),
        "key color": made.Key("color"),
        "key shape": made.Key("kind"),
    },
)
