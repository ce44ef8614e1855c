"""What every generated page is written with: labels of rules and bases, markdown tables and lists."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

REFERENCE = "uniform"
RANKED_FROM = 3  # seeds


def label(piece: Mapping[str, Any] | None) -> str:
    """A rule with all its settings, for two settings of one rule are two rows; of two codes of one rule, `mark` is what
    tells this one (`marks`).
    """
    if piece is None:
        return "(not trained)"
    named = f"{piece['name']} ({settings_text(piece['settings'])})" if piece["settings"] else str(piece["name"])
    return named + str(piece.get("mark", ""))


MARK = 6  # digits of a digest


def marks(pieces: Iterable[Mapping[str, Any] | None]) -> dict[str, str]:
    """By the code of each piece what tells it from others of its name and settings: nothing where there are none."""
    codes: defaultdict[str, set[str]] = defaultdict(set)
    for piece in filter(None, pieces):
        codes[label({**piece, "mark": ""})].add(piece.get("code", ""))
    several = {code for found in codes.values() if len(found) > 1 for code in found}
    return {code: f" @{code[:MARK] or 'unknown'}" for code in several}


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings in one line."""
    return ", ".join(f"{key}={_shown(value)}" for key, value in sorted(settings.items()))


def _shown(value: object) -> str:
    """A setting's value as it is typed."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(map(_shown, value))
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def escape(text: str) -> str:
    """Text as a markdown cell shows it: no new columns, no tags, no links, no new lines."""
    quoted = text.replace("&", "&amp;").replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(")
    return " ".join(quoted.split())


def grid(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A markdown table."""
    lines = [list(header), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(map(escape, line))} |\n" for line in lines)


def bullets(items: Iterable[str]) -> str:
    """A markdown list."""
    return "".join(f"- {escape(item)}\n" for item in items)


def distinct_labels(pieces: Sequence[Mapping[str, Any]]) -> list[str]:
    """A label for each piece (`name`, `settings`): of pieces with one name, the settings in which they differ."""
    labels = []
    for piece in pieces:
        others = [other["settings"] for other in pieces if other["name"] == piece["name"]]
        differing = {
            name: value
            for name, value in piece["settings"].items()
            if any(name not in other or other[name] != value for other in others)
        }
        labels.append(label({"name": piece["name"], "settings": differing}))
    told = marks(pieces)
    return [name + told.get(piece.get("code", ""), "") for name, piece in zip(labels, pieces, strict=True)]


def base_labels(keys: Iterable[str]) -> dict[str, str]:
    """A label for each base, by its key."""
    found = [key for key in sorted(set(keys)) if key != "null"]
    return dict(zip(found, distinct_labels([json.loads(key) for key in found]), strict=True))


def measure_labels(keys: Iterable[str]) -> dict[str, str]:
    """A label for each measurement, by its key: the benchmark, and whether it is a twin or the real one."""
    found, own = sorted(set(keys)), {"decoding": None, "settings": None}
    pieces = []
    for measure in map(json.loads, found):
        name = f"{measure['bench']} ({kind(measure)})"
        pieces.append({"name": name, "settings": {**measure, **measure["decoding"], **measure["settings"], **own}})
    return dict(zip(found, distinct_labels(pieces), strict=True))


REDRAWN = "re-drawn"  # in the revision of sets whose pictures are not the original ones


def kind(measure: Mapping[str, Any]) -> str:
    """Whether a measurement or a source of questions is a procedural twin, the real benchmark, or something between."""
    between = "real questions, re-drawn pictures" if REDRAWN in measure["revision"] else "real"
    return "twin" if measure["twin"] else between


def number(value: float, form: str) -> str:
    """A number as text, blank where it is missing."""
    return "" if np.isnan(value) else form.format(value)
