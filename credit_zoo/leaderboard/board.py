"""Records to tables: one row a run and measurement, then one row an arm with intervals, differences and ranks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from credit_zoo.registry import UsageError
from credit_zoo.results import (
    MEASURE,
    RANKED_FROM,
    REFERENCE,
    Evaluation,
    RunRecord,
    kind,
    label,
    marks,
    plain,
    record_path,
    stats,
)

REPORTED_COLUMNS = ("paper", "table", "model", "method", "benchmark", "metric", "value", "source", "note")
_KEYS = ["section", "measure", "base", "arm"]
_MEANS = (
    *("value", "before", "pass_at_n", "official", "unleaked", "weight_std", "ess", "prompts", "tokens", "seconds"),
)


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
    the loop's settings, contract, identity); `measure`, what was measured; `base`; `arm`, base and rule with their
    settings and code.
    """
    return pd.DataFrame([_measurement(record, found) for record in records for found in _measured(record)])


def _measurement(record: RunRecord, found: Evaluation) -> dict[str, Any]:
    training = record.training
    section: dict[str, object] = {
        "contract_version": record.contract_version,
        "identity": record.identity,
        "model": record.model,
        "source": None,
    }
    if training:
        section |= {"source": training.source, "steps": training.steps, "settings": training.settings}
    before = [other.value for other in record.evaluations if other.stage == "before" and other.measure == found.measure]
    weights = training.weights if training else None
    keys = (section, {name: getattr(found, name) for name in MEASURE}, record.base, [record.base, record.shaper])
    return {
        **{name: json.dumps(plain(key), sort_keys=True) for name, key in zip(_KEYS, keys, strict=True)},
        "seed": record.seed,
        "created": record.created,
        "scores": np.asarray(found.correctness, dtype=np.float64),
        "value": found.value,
        "before": before[0] if before and training else np.nan,
        "pass_at_n": np.nan if found.pass_at_n is None else found.pass_at_n,
        "official": np.nan if found.beside.official is None else found.beside.official,
        "unleaked": np.nan if found.beside.unleaked is None else found.beside.unleaked.mean,
        "baselines": found.beside.baselines,
        "weight_std": weights.std if weights else np.nan,
        "ess": weights.ess if weights else np.nan,
        "prompts": training.counters.get("sampled_prompts", np.nan) if training else np.nan,
        "tokens": training.tokens if training and training.tokens is not None else np.nan,
        "seconds": record.seconds,
        "commit": (record.origin.commit or "unknown")[:7],
        "flags": (
            *record.notes,
            *(["dirty"] if record.origin.dirty else []),
            *(f"supersedes {run_id}" for run_id in record.supersedes),
        ),
    }


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Step 2: one row an arm, with intervals, paired differences and ranks within its section and measurement."""
    rows: list[dict[str, Any]] = []
    for _, group in frame.groupby(_KEYS[:2], sort=True) if len(frame) else ():
        arms = _told_apart([_arm(runs) for _, runs in group.groupby("arm", sort=True)])
        rows += _ranked([arm | _compared(arm, arms) for arm in arms])
    return pd.DataFrame(rows)


def _arm(runs: pd.DataFrame) -> dict[str, Any]:
    """The runs of one rule under one base. A mean is blank unless every run has the number."""
    runs = runs.sort_values("seed")
    first = runs.iloc[0]
    means = {name: float(runs[name].mean(skipna=False)) for name in _MEANS}
    by_seed = dict(zip(map(int, runs["seed"]), runs["scores"], strict=True))
    many = len(by_seed) >= RANKED_FROM
    scores = np.stack(list(by_seed.values()))
    return {
        **{name: first[name] for name in _KEYS},
        **means,
        "shaper": json.loads(first["arm"])[1],
        "baselines": first["baselines"],
        "by_seed": by_seed,
        "created": runs["created"].max(),
        "ranked": many and json.loads(first["section"])["source"] is not None,
        "interval": stats.interval(scores, over_seeds=many),
        "seed_sd": stats.between_seed_sd(scores) if many else np.nan,
        "commits": tuple(sorted(set(runs["commit"]))),
        "flags": tuple(sorted({flag for flags in runs["flags"] for flag in flags})),
    }


def _told_apart(arms: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Arms with the digest of their code where a rule's name and settings do not tell them apart. Of those the one that
    ran last is `current`, the others are flagged: they are shown, and nothing is held against them.
    """
    told, found = marks(arm["shaper"] for arm in arms), []
    newest: dict[str, dict[str, Any]] = {}
    for arm in sorted(arms, key=lambda arm: (arm["created"], arm["arm"])):
        newest[_rule(arm)] = arm
    for arm in arms:
        latest, rule = newest[_rule(arm)], arm["shaper"]
        flags = arm["flags"] if latest is arm else (*arm["flags"], f"older code than{told[latest['shaper']['code']]}")
        shown = rule and {**rule, "mark": told.get(rule["code"], "")}
        found.append(arm | {"current": latest is arm, "flags": flags, "shaper": shown})
    return found


def _rule(arm: dict[str, Any]) -> str:
    """A rule under a base, whatever its code."""
    return json.dumps([arm["base"], arm["shaper"] and {**arm["shaper"], "code": ""}], sort_keys=True)


def _compared(arm: dict[str, Any], arms: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The paired differences of an arm to `uniform` and to its own shuffles, under the same base."""
    beside = [other for other in arms if other["base"] == arm["base"] and other["shaper"] and arm["shaper"]]
    references = [
        other for other in beside if other["shaper"]["name"] == REFERENCE and other["current"] and other is not arm
    ]
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
