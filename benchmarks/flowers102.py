"""Flowers102: a photograph of a flower, answered by the name of its kind; one of 102, few shots of each.

Source: Nilsback and Zisserman, Automated Flower Classification over a Large Number of Classes (ICVGIP 2008). The
4-shot set is Visual-RFT's (arXiv:2503.01785), laolao77/ViRFT_CLS_flower_4_shot, 408 training pictures; its test list
is CoOp's, 2,463 pictures. Licence: none is stated; the pictures come from the web.

Sample row (`annotations.jsonl`; two other layouts are told in `credit_zoo.questions.few_shot`):
    {"id": "image_06734", "image": "jpg/image_06734.jpg", "label": "pink primrose", "split": "train"}

Headline: avg@8 accuracy over all test pictures after training on 4 shots a class (`flowers102.shots`, 1, 2 or
4); chance is 1%, the most frequent class about 3%. PEPO's table does not say how it grades.

Known traps: Visual-RFT's grader takes any part of the name, so that an empty answer is right for every picture, `e`
and `a` for 72%; CLS-RL's takes a name inside a longer one, `desert-rose` for `rose`; here only the whole name counts.
Sources spell `colts foot` and `lotus` as `colt's foot` and `lotus lotus`: each is one class. Folders 1 to 102 are named
in the official order, or by the `cat_to_name.json` beside them; labels as numbers in a table (in one of them in the
order 1, 10, 100) are refused: names are needed. Some copies
hold web pages saved as .jpg. The official test list (6,149 pictures) is not CoOp's. The hub's set has no test
pictures: these need a folder. Not verified: the columns of the hub's set, which are taken from its card; that PEPO
trained on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from credit_zoo.questions import FewShot, HubSet
from credit_zoo.registry import BENCHMARKS

# In the official order: the numbers of folders, from 1.
_CLASSES = """
pink primrose, hard-leaved pocket orchid, canterbury bells, sweet pea, english marigold, tiger lily,
moon orchid, bird of paradise, monkshood, globe thistle, snapdragon, colts foot, king protea, spear thistle,
yellow iris, globe-flower, purple coneflower, peruvian lily, balloon flower, giant white arum lily, fire lily,
pincushion flower, fritillary, red ginger, grape hyacinth, corn poppy, prince of wales feathers,
stemless gentian, artichoke, sweet william, carnation, garden phlox, love in the mist, mexican aster,
alpine sea holly, ruby-lipped cattleya, cape flower, great masterwort, siam tulip, lenten rose, barbeton daisy,
daffodil, sword lily, poinsettia, bolero deep blue, wallflower, marigold, buttercup, oxeye daisy,
common dandelion, petunia, wild pansy, primula, sunflower, pelargonium, bishop of llandaff, gaura, geranium,
orange dahlia, pink-yellow dahlia, cautleya spicata, japanese anemone, black-eyed susan, silverbush,
californian poppy, osteospermum, spring crocus, bearded iris, windflower, tree poppy, gazania, azalea,
water lily, rose, thorn apple, morning glory, passion flower, lotus, toad lily, anthurium, frangipani,
clematis, hibiscus, columbine, desert-rose, tree mallow, magnolia, cyclamen, watercress, canna lily,
hippeastrum, bee balm, ball moss, foxglove, bougainvillea, camellia, mallow, mexican petunia, bromelia,
blanket flower, trumpet creeper, blackberry lily
"""


@BENCHMARKS.register(
    "flowers102",
    version=1,
    headline="avg@8 accuracy",
    trains_on="flowers102",
    source="doi:10.1109/ICVGIP.2008.47",
    licence="not stated",
)
@dataclass(frozen=True)
class Flowers102(FewShot):
    """Flowers by kind. `shots` (1, 2 or 4) is the number of training pictures a class; `shots_seed` picks them."""

    name = "flowers102"
    asked = "This is an image containing a plant. Please identify the species of the plant based on the image."
    hub = HubSet("laolao77/ViRFT_CLS_flower_4_shot", {"train": "train"}, ("solution",))
    spellings: ClassVar[Mapping[str, str]] = {"colt's foot": "colts foot", "lotus lotus": "lotus"}
    numbered = tuple(name.strip() for name in _CLASSES.split(","))
