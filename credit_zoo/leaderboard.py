"""Records to a table to markdown: `python -m credit_zoo.leaderboard [--check] [--results DIR] [--out FILE]`.

Writes the page and, unless it goes elsewhere by `--out`, the generated parts of the README beside its folder.

The numbers come from the records below `leaderboard/results/` and from `leaderboard/reported.csv` alone; the same
files give the same bytes. A damaged or repeated record is named on stderr and at the end of the page, the others
still count, and the exit code is 0; with `--check` it is 1 for these and for a page that is not up to date.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from credit_zoo import stats
from credit_zoo.markdown import RANKED_FROM, REFERENCE, kind, label
from credit_zoo.page import page
from credit_zoo.probes import load_all as probed
from credit_zoo.probes import mistakes_table
from credit_zoo.readme import credit_block, fill, leaderboard_block, shapers_block, warm_start_block
from credit_zoo.record import MEASURE, Evaluation, RunRecord
from credit_zoo.registry import SHAPERS, UsageError
from credit_zoo.results import atomic_write, load_all, plain, record_path
from credit_zoo.speed import table as costs

WARM_START = Path(__file__).parent / "model" / "warm_start.json"
REPORTED_COLUMNS = ("paper", "table", "model", "method", "benchmark", "metric", "value", "source", "note")
_KEYS = ["section", "measure", "base", "arm"]


def row(record: RunRecord) -> str:
    """The result for the console: one line a benchmark, then where the record lies below the folder of results."""
    before = {found.measure: found.value for found in record.evaluations if found.stage == "before"}
    name = f"{label(plain(record.shaper))}, base {record.base.name}" if record.base else "not trained"
    lines = []
    for found in _measured(record):
        was = f"{100 * before[found.measure]:.2f} -> " if record.training and found.measure in before else ""
        error = stats.standard_error(np.asarray(found.correctness))
        spread = "" if np.isnan(error) else f" +- {100 * error:.2f}"
        asked = f"avg@{found.samples} {found.metric} in %, {found.questions} questions"
        lines.append(f"{name} | {found.bench} ({kind(plain(found))}): {was}{100 * found.value:.2f}{spread} ({asked})")
    return "\n".join([*lines, f"record: {record_path(record)}"])


def _measured(record: RunRecord) -> list[Evaluation]:
    """The evaluations that make rows: after training, or of a model that was not trained."""
    return [found for found in record.evaluations if found.stage == "after" or record.training is None]


def measurements(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Step 1: one row a run and measurement.

    Four columns hold JSON: `section`, all beside rule and base that a comparison needs equal (questions, model, steps,
    the loop's settings, contract); `measure`, what was measured; `base`; `arm`, base and rule with their settings.
    """
    return pd.DataFrame([_measurement(record, found) for record in records for found in _measured(record)])


def _measurement(record: RunRecord, found: Evaluation) -> dict[str, Any]:
    training = record.training
    section: dict[str, object] = {"contract_version": record.contract_version, "model": record.model, "source": None}
    if training:
        section |= {"source": training.source, "steps": training.steps, "settings": training.settings}
    before = [other.value for other in record.evaluations if other.stage == "before" and other.measure == found.measure]
    weights = training.weights if training else None
    keys = (section, {name: getattr(found, name) for name in MEASURE}, record.base, [record.base, record.shaper])
    return {
        **{name: json.dumps(plain(key), sort_keys=True) for name, key in zip(_KEYS, keys, strict=True)},
        "seed": record.seed,
        "scores": np.asarray(found.correctness, dtype=np.float64),
        "value": found.value,
        "before": before[0] if before and training else np.nan,
        "pass_at_n": np.nan if found.pass_at_n is None else found.pass_at_n,
        "official": np.nan if found.beside.official is None else found.beside.official,
        "unleaked": np.nan if found.beside.unleaked is None else found.beside.unleaked.mean,
        "baselines": found.beside.baselines,
        "weight_std": weights.std if weights else np.nan,
        "ess": weights.ess if weights else np.nan,
        "tokens": training.tokens if training else np.nan,
        "seconds": record.seconds,
        "commit": (record.origin.commit or "unknown")[:7],
        "flags": (*record.notes, *(["dirty"] if record.origin.dirty else [])),
    }


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Step 2: one row an arm, with intervals, paired differences and ranks within its section and measurement."""
    rows: list[dict[str, Any]] = []
    for _, group in frame.groupby(_KEYS[:2], sort=True) if len(frame) else ():
        arms = [_arm(runs) for _, runs in group.groupby("arm", sort=True)]
        rows += _ranked([arm | _compared(arm, arms) for arm in arms])
    return pd.DataFrame(rows)


def _arm(runs: pd.DataFrame) -> dict[str, Any]:
    """The runs of one rule under one base. A mean is blank unless every run has the number."""
    runs = runs.sort_values("seed")
    first = runs.iloc[0]
    means = {
        name: float(runs[name].mean(skipna=False))
        for name in ("value", "before", "pass_at_n", "official", "unleaked", "weight_std", "ess", "tokens", "seconds")
    }
    by_seed = dict(zip(map(int, runs["seed"]), runs["scores"], strict=True))
    many = len(by_seed) >= RANKED_FROM
    scores = np.stack(list(by_seed.values()))
    return {
        **{name: first[name] for name in _KEYS},
        **means,
        "shaper": json.loads(first["arm"])[1],
        "baselines": first["baselines"],
        "by_seed": by_seed,
        "ranked": many and json.loads(first["section"])["source"] is not None,
        "interval": stats.interval(scores, over_seeds=many),
        "seed_sd": stats.between_seed_sd(scores) if many else np.nan,
        "commits": tuple(sorted(set(runs["commit"]))),
        "flags": tuple(sorted({flag for flags in runs["flags"] for flag in flags})),
    }


def _compared(arm: dict[str, Any], arms: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The paired differences of an arm to `uniform` and to its own shuffles, under the same base."""
    beside = [other for other in arms if other["base"] == arm["base"] and other["shaper"] and arm["shaper"]]
    references = [other for other in beside if other["shaper"]["name"] == REFERENCE and other is not arm]
    difference = _paired(arm, references[0]) if len(references) == 1 else None
    shuffles = [
        (label(other["shaper"]), _paired(arm, other)) for other in beside if _shuffles(other["shaper"], arm["shaper"])
    ]
    return {"difference": difference, "shuffles": [(name, found) for name, found in shuffles if found]}


def _shuffles(other: dict[str, Any], rule: dict[str, Any]) -> bool:
    """Whether `other` is `rule` with its weights permuted: by its name, and the settings that both have agree."""
    both = other["settings"].keys() & rule["settings"].keys()
    same = all(other["settings"][key] == rule["settings"][key] for key in both)
    return same and other["name"] == f"permuted_{rule['name']}"


def _paired(arm: dict[str, Any], other: dict[str, Any]) -> stats.Paired | None:
    common = arm["by_seed"].keys() & other["by_seed"].keys()
    return stats.paired(arm["by_seed"], other["by_seed"], over_seeds=len(common) >= RANKED_FROM) if common else None


def _ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Best first, ranked before unranked; equal values share a rank."""
    ordered = sorted(rows, key=lambda arm: (not arm["ranked"], -round(arm["value"], 9), arm["arm"]))
    values = [round(arm["value"], 9) for arm in ordered if arm["ranked"]]
    ranks = [1 + sum(other > value for other in values) for value in values]
    return [arm | {"rank": rank} for arm, rank in zip(ordered, ranks + [0] * (len(ordered) - len(ranks)), strict=True)]


def reported(path: Path) -> pd.DataFrame:
    """The numbers that papers report, as text; empty where there is no file."""
    if not path.exists():
        return pd.DataFrame(columns=list(REPORTED_COLUMNS))
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    if tuple(frame.columns) != REPORTED_COLUMNS:
        raise UsageError(f"{path} must have the columns {', '.join(REPORTED_COLUMNS)}, has {', '.join(frame.columns)}")
    twice = frame[frame.duplicated(list(REPORTED_COLUMNS[:6]))]
    if len(twice) or (frame["source"] == "").any():
        raise UsageError(f"{path}: every row needs a source and stands once; look at {twice.to_dict('records')[:1]}")
    return frame


@dataclass(frozen=True)
class Built:
    """The page, the page of what a step costs, what the README shows of both, and the records that were left out."""

    page: str
    costs: str
    blocks: Mapping[str, str]
    problems: tuple[str, ...]


def build(results: Path) -> Built:
    """Everything that is generated from a folder of records and the `reported.csv` beside it."""
    if not results.parent.is_dir():
        raise UsageError(f"{results.parent} does not exist: start from the repository's root or give --results")
    records, problems = load_all(results)
    problems = [problem.replace(f"{results}/", "") for problem in problems]
    listings = SHAPERS.listings()
    rules = {name: (entry.summary, entry.paper) for name, entry in listings.items() if entry.paper}
    board = table(measurements(records))
    probes = probed(results.parent / "probes")
    speed = costs.read(results.parent / "speed")
    blocks = {
        "leaderboard": leaderboard_block(board),
        "shapers": shapers_block(listings),
        "warm_start": warm_start_block(WARM_START),
        "mistakes": mistakes_table(probes),
        "credit": credit_block(probes),
        "speed": costs.summary(speed),
    }
    shown = page(board, reported(results.parent / "reported.csv"), rules, problems)
    return Built(shown, costs.page(speed), blocks, tuple(problems))


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, 1 for a failed check, 2 for a request that cannot be met."""
    parser = argparse.ArgumentParser(prog="python -m credit_zoo.leaderboard", description="Rewrite the leaderboard.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 unless the page is up to date")
    parser.add_argument("--results", type=Path, default=Path("leaderboard/results"), help="folder of records")
    parser.add_argument("--out", type=Path, help="the page (default: LEADERBOARD.md beside the folder of records)")
    given = parser.parse_args(words)
    out = given.out or given.results.parent / "LEADERBOARD.md"
    readme = given.results.parent.parent / "README.md"
    try:
        built = build(given.results)
        pages = {out: built.page}
        if given.out is None and readme.exists():
            pages[given.results.parent / "SPEED.md"] = built.costs
            pages[readme] = fill(readme.read_text(encoding="utf-8"), built.blocks)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    for problem in built.problems:
        print(f"left out: {problem}", file=sys.stderr)
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if given.check:
        for path in stale:
            print(f"{path} is not up to date: run python -m credit_zoo.leaderboard and commit it", file=sys.stderr)
        return int(bool(stale or built.problems))
    for path, text in pages.items():
        atomic_write(path, text)
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
