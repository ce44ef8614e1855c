"""FGVC-Aircraft: a photograph of an aircraft, answered by the name of its variant; one of 100, few shots of each.

Source: Maji et al., Fine-Grained Visual Classification of Aircraft (arXiv:1306.5151): 3,334 train, 3,333 val and
3,333 test pictures. The 4-shot set is Visual-RFT's (arXiv:2503.01785), laolao77/ViRFT_CLS_fgvc_aircraft_4_shot, 400
training pictures. Licence: non-commercial research; the photographers keep their copyright.

Sample row (`annotations.jsonl`; the unpacked official set is read too, and two other layouts that are told in
`credit_zoo.questions.few_shot`):
    {"id": "0034309", "image": "images/0034309.jpg", "label": "707-320", "split": "train"}

Headline: avg@8 accuracy over all test pictures after training on 4 shots a class (`fgvc_aircraft.shots`, 1, 2
or 4); chance is 1%. PEPO's table does not say how it grades.

Known traps: Visual-RFT's grader takes any part of the name, so that an empty answer is right for every picture, `-`
for 66% and `0` for 62%; here only the whole name counts. A maker before the name is allowed (`Boeing 707-320`), the
family alone (`A330`) is not. Labels are variants, not the 70 families or 30 makers. A folder's name cannot hold the
slash of `F-16A/B`: any mark or none in its place is the same class. The official pictures carry a banner of 20
pixels with the photographer's name; it is not cut off here. The hub's set has no test pictures: these need a folder.
CLS-RL lists 40% of the classes in its question; its numbers are not comparable. Not verified: the columns of the
hub's set, which are taken from its card; that PEPO trained on it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from credit_zoo.question import SPLITS, Split
from credit_zoo.questions import PLACE, FewShot, HubSet, Layout, Row, Rows, need_some
from credit_zoo.registry import BENCHMARKS

_OFFICIAL = ("data", "fgvc-aircraft-2013b/data", ".")  # where the unpacked set keeps its lists
_LIST = "images_variant_{}.txt"


@BENCHMARKS.register(
    "fgvc_aircraft",
    version=1,
    headline="avg@8 accuracy",
    trains_on="fgvc_aircraft",
    source="arXiv:1306.5151",
    licence="non-commercial research",
)
@dataclass(frozen=True)
class FGVCAircraft(FewShot):
    """Aircraft by variant. `shots` (1, 2 or 4) is the number of training pictures a class; `shots_seed` picks them."""

    name = "fgvc_aircraft"
    asked = "This is an image containing an aircraft. Please identify the model of the aircraft based on the image."
    hub = HubSet("laolao77/ViRFT_CLS_fgvc_aircraft_4_shot", {"train": "train"}, ("solution",))

    def _official(self) -> tuple[Layout, ...]:
        told = (
            "the unpacked fgvc-aircraft-2013b: images_variant_<split>.txt, each line an id and its variant, and images/"
        )
        return (Layout(told, _lists, _listed),)


def _lists(data: Path) -> Path | None:
    places = [data / inside for inside in _OFFICIAL]
    return next((one for one in places for split in SPLITS if (one / _LIST.format(split)).is_file()), None)


def _listed(data: Path, split: Split) -> Rows:
    """The official lists as rows."""
    folder = _lists(data) or data
    files = {part: file for part in SPLITS if (file := folder / _LIST.format(part)).is_file()}
    asked = {part: file for part, file in files.items() if part == split or (split == "all" and part != "val")}
    need_some(asked, f"split '{split}' of {folder}", dict.fromkeys(files, 1))
    rows: list[Row] = []
    digest = hashlib.sha256()
    for part, file in asked.items():
        content = file.read_bytes()
        digest.update(content)
        for number, line in enumerate(content.decode("utf-8-sig").splitlines(), 1):
            name, _, variant = line.strip().partition(" ")
            told = {"id": name, "image": folder / "images" / f"{name}.jpg", "label": variant, "split": part}
            rows += [{**told, PLACE: f"{file} line {number}"}] if name else []
    return Rows(folder, tuple(rows), digest.hexdigest()[:12])
