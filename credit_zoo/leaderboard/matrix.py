"""Rules by benchmarks: the paired difference of every trained rule to `uniform`, one matrix a policy and base."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from credit_zoo.leaderboard.learning import WHILE_LEARNING
from credit_zoo.leaderboard.sections import recorded_before, table_settings
from credit_zoo.leaderboard.verdicts import LEGEND, is_reference, mark
from credit_zoo.results import RANKED_FROM, base_labels, distinct_labels, escape, grid, kind

COLUMNS = 3  # of one table, which a terminal and a code host still show
_WHAT = (
    "After training, in points of the headline metric, paired by seed and question; while learning, in points of the "
    "mean training accuracy over all steps, paired by seed. Every rule at the settings and schedule of its own "
    "(`configs/shaper/`). Rows by how often they are told above, less below, then by their mean; controls last."
)
EMPTY = "No rule was trained beside `uniform` yet.\n"


def matrices(board: pd.DataFrame) -> str:
    """A matrix for each policy and base; columns of other training are columns of their own."""
    parts = [text for group in _groups(board) for text in _matrix(*group)]
    return "\n".join([f"{_WHAT} {LEGEND}\n", *parts] if parts else [EMPTY])


def _groups(board: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The arms that share a policy and a base, under their title; never a record of another schema or warm start."""
    if not len(board):
        return
    shown = _shown(board)
    sections = shown["section"].map(json.loads)
    keys = [
        sections.map(lambda one: json.dumps([one["model"], one["identity"] is None], sort_keys=True)),
        shown["base"],
    ]
    # What is recorded today before older schemas, the fullest first.
    groups = sorted(shown.groupby(keys, sort=True), key=lambda one: (json.loads(one[0][0])[1], -len(one[1]), one[0]))
    bases = base_labels(shown["base"])
    models = distinct_labels([_model(key) for (key, _), _ in groups])
    for ((_, base), arms), model in zip(groups, models, strict=True):
        section = json.loads(arms.iloc[0]["section"])
        yield f"From `{model}`, base {bases[base]}{recorded_before(section)}", arms


def _shown(board: pd.DataFrame) -> pd.DataFrame:
    """The columns in which something is compared over enough seeds; where there is none yet, those of fewer seeds."""
    trained = board[board["current"].astype(bool) & (board["base"] != "null")]
    columns = [trained[name] for name in ("section", "measure", "base")]
    compared = trained["from_uniform"].notna().groupby(columns).transform("any")
    return trained[compared if compared.any() else trained["difference"].notna().groupby(columns).transform("any")]


def _model(key: str) -> dict[str, Any]:
    model = json.loads(key)[0]
    return {"name": model["name"], "settings": {"weights": model["revision"]}}


def _matrix(title: str, arms: pd.DataFrame) -> list[str]:
    """Tables of a few columns each."""
    columns = [(key, rows.to_dict("records")) for key, rows in arms.groupby(["section", "measure"], sort=True)]
    columns.sort(key=lambda column: (column[0][0], json.loads(column[0][1])["metric"] == WHILE_LEARNING, column[0][1]))
    titles = distinct_labels([_column(*key) for key, _ in columns])
    cells: dict[str, dict[int, dict[str, Any]]] = {}
    for place, (_, rows) in enumerate(columns):
        for arm in rows:
            cells.setdefault(_row_key(arm), {})[place] = arm
    order = sorted(cells, key=lambda key: _place(cells[key].values(), key))
    pieces = [json.loads(key)["shaper"] for key in order]
    names = distinct_labels(pieces)
    parts = [f"### {escape(title)}\n"]
    for start in range(0, len(columns), COLUMNS):
        shown = range(start, min(start + COLUMNS, len(columns)))
        usual = {place: _usual(columns[place][1]) for place in shown}
        counts = {place: sum(arm["from_uniform"] is not None for arm in columns[place][1]) for place in shown}
        sizes = [f"{_seeds(usual[place])}, {counts[place]} compared" for place in shown]
        header = ["rule", *(f"{titles[place]}, {size}" for place, size in zip(shown, sizes, strict=True))]
        rows = [
            [_name(cells[key], name), *(_cell(cells[key].get(place), usual[place]) for place in shown)]
            for key, name in zip(order, names, strict=True)
            if any(place in cells[key] for place in shown)
        ]
        parts.append(grid(header, rows))
    return parts


def _row_key(arm: Mapping[str, Any]) -> str:
    shaper = arm["shaper"]
    return json.dumps({"shaper": {**shaper, "code": ""}, "control": bool(arm["control"])}, sort_keys=True)


def _column(section: str, measure: str) -> dict[str, Any]:
    """A column's heading as a piece for `distinct_labels`."""
    trained, asked = json.loads(section), json.loads(measure)
    name = f"{asked['bench']} ({kind(asked)})"
    if asked["bench"] != trained["source"]["bench"]:
        name += f" after {trained['source']['bench']}"
    when = (
        f"while learning, {trained['steps']} steps"
        if asked["metric"] == WHILE_LEARNING
        else f"{trained['steps']} steps"
    )
    return {"name": f"{name}, {when}", "settings": table_settings(trained, asked)}


def _place(arms: Any, key: str) -> tuple[bool, bool, int, float, str]:
    """`uniform` first, then rules by how often they are told above and below, and by their mean; controls last."""
    found = list(arms)
    told = sum(arm["from_uniform"].told for arm in found if arm["from_uniform"] is not None)
    values = [arm["difference"].interval.value for arm in found if arm["difference"] is not None]
    mean = sum(values) / len(values) if values else 0.0
    return not is_reference(found[0]), bool(found[0]["control"]), -told, -round(mean, 9), key


def _name(cells: Mapping[int, Mapping[str, Any]], name: str) -> str:
    first = next(iter(cells.values()))
    return f"{name} (control)" if first["control"] else name


def _usual(arms: Sequence[Mapping[str, Any]]) -> int:
    """How many seeds most arms are compared over; of two such numbers the greater."""
    counts = Counter(len(arm["difference"].seeds) for arm in arms if arm["difference"] is not None)
    return max(counts, key=lambda seeds: (counts[seeds], seeds))


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count > 1 else ''}"


def _cell(arm: Mapping[str, Any] | None, usual: int | None) -> str:
    """The difference, its interval and mark, and how many seeds it is over where most arms have others."""
    if arm is None:
        return ""
    if is_reference(arm):
        other = f" ({_seeds(len(arm['by_seed']))})" if usual not in (None, len(arm["by_seed"])) else ""
        return f"{100 * arm['value']:.1f} [{100 * arm['interval'].low:.1f}, {100 * arm['interval'].high:.1f}]{other}"
    found = arm["difference"]
    if found is None:
        return f"{100 * arm['value']:.1f} alone"
    count, interval = len(found.seeds), found.interval
    bounds = f" [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]" if count >= RANKED_FROM else ""
    seeds = f" ({_seeds(count)})" if usual not in (None, count) else ""
    return f"{100 * interval.value:+.2f}{bounds}{seeds}{mark(arm['from_uniform'], arm['from_shuffle'])}"


def training_results(board: pd.DataFrame, weights: str, bench: str) -> dict[str, str]:
    """By rule what training from these weights gave on a benchmark: the cell of the matrix under base grpo."""
    found: dict[str, list[str]] = {}
    for arm in board.to_dict("records") if len(board) else ():
        section, base = json.loads(arm["section"]), json.loads(arm["base"])
        here = section["source"] is not None and section["model"]["revision"] == weights and arm["current"]
        if here and base["name"] == "grpo" and json.loads(arm["measure"])["bench"] == bench and arm["difference"]:
            found.setdefault(arm["shaper"]["name"], []).append(_cell(arm, None))
    return {name: "; ".join(texts) for name, texts in found.items()}
