"""Records to tables: one row a run and measurement, then one row an arm with intervals, differences and ranks."""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from credit_zoo.errors import UsageError
from credit_zoo.leaderboard.verdicts import judged
from credit_zoo.registry import SHAPERS
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
TABLE_STEPS, TABLE_QUESTIONS = 10, 20  # what a run needs to stand in a table
_KEYS = ["section", "measure", "base", "arm"]
_ByRule: TypeAlias = Mapping[tuple[str, str], Sequence[dict[str, Any]]]
_MEANS = (
    *("value", "before", "pass_at_n", "official", "unleaked", "weight_std", "ess", "prompts", "tokens", "seconds"),
)


def row(record: RunRecord, results: Path = Path()) -> str:
    """The result for the console: one line a benchmark, then where the record lies in the folder `results`."""
    before = {found.measure: found.value for found in record.evaluations if found.stage == "before"}
    name = f"{label(plain(record.rule))}, base {record.base.name}" if record.base else "not trained"
    lines = []
    for found in _measured(record):
        was = f"{100 * before[found.measure]:.2f} -> " if record.training and found.measure in before else ""
        error = stats.standard_error(np.asarray(found.correctness))
        spread = "" if np.isnan(error) else f" +- {100 * error:.2f}"
        asked = f"avg@{found.samples} {found.metric} in %, {found.questions} questions"
        lines.append(f"{name} | {found.bench} ({kind(plain(found))}): {was}{100 * found.value:.2f}{spread} ({asked})")
    return "\n".join([*lines, f"record: {results / record_path(record)}"])


def is_trial(record: RunRecord) -> bool:
    """Whether a run only shows that everything runs (`scale=smoke`): too short, or asked too little, for a table."""
    short = record.training is not None and record.training.steps < TABLE_STEPS
    return short or all(found.questions < TABLE_QUESTIONS for found in record.evaluations)


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
        section |= {"source": training.source, "steps": training.steps, "settings": training.shared}
    before = [other.value for other in record.evaluations if other.stage == "before" and other.measure == found.measure]
    weights = training.weights if training else None
    keys = (section, {name: getattr(found, name) for name in MEASURE}, record.base, [record.base, record.rule])
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
        "step_seconds": _step_seconds(record),
        "commit": (record.origin.commit or "unknown")[:7],
        "flags": (
            *record.notes,
            *(["dirty"] if record.origin.dirty else []),
            *(f"supersedes {run_id}" for run_id in record.supersedes),
        ),
    }


def _step_seconds(record: RunRecord) -> float:
    """The median over the steps, which a busy minute does not move."""
    steps = [entry["seconds"] for entry in (record.training.curve if record.training else ()) if "seconds" in entry]
    return float(np.median(steps)) if steps else float("nan")


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Step 2: one row an arm, with intervals, paired differences and ranks within its section and measurement.

    Rules are ranked among those of one base, by the difference to `uniform` on the seeds that both have: their means
    are over different seeds, and bases differ in more than the rule. `unranked` says why an arm has no rank.
    """
    rows: list[dict[str, Any]] = []
    is_control = cache(SHAPERS.is_control)  # which reads the sources of all rules
    for _, group in frame.groupby(_KEYS[:2], sort=True) if len(frame) else ():
        arms = _told_apart([_arm(runs) for _, runs in group.groupby("arm", sort=True)])
        beside = _by_rule(arms)
        rows += _ranked(judged([arm | _compared(arm, beside, is_control) for arm in arms]))
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
        "step_seconds": dict(zip(map(int, runs["seed"]), map(float, runs["step_seconds"]), strict=True)),
        "created": runs["created"].max(),
        "many": many and json.loads(first["section"])["source"] is not None,
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


def _by_rule(arms: Sequence[dict[str, Any]]) -> _ByRule:
    """The arms of trained runs by their base and their rule's name, of each rule the code that ran last."""
    found: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for arm in arms:
        if arm["shaper"] and arm["current"]:
            found[arm["base"], arm["shaper"]["name"]].append(arm)
    return found


def _compared(arm: dict[str, Any], beside: _ByRule, is_control: Callable[[str], bool]) -> dict[str, Any]:
    """The paired differences of an arm to `uniform` and to its own shuffles, under the same base."""
    name = arm["shaper"]["name"] if arm["shaper"] else None
    references = beside.get((arm["base"], REFERENCE), [])
    apart = name is not None and len(references) == 1 and references[0] is not arm
    difference = _paired(arm, references[0]) if apart else None
    shuffles = [
        (label(other["shaper"]), _paired(arm, other))
        for shuffle in (f"permuted({name})", f"permuted_{name}")  # the second in records of version 0.2 and before
        for other in beside.get((arm["base"], shuffle), [])
        if _shuffles(other["shaper"], arm["shaper"])
    ]
    control = name is not None and is_control(name)
    unranked = _unranked(arm, references, difference, control)
    return {
        "control": control,
        "difference": difference,
        "shuffles": [(name, found) for name, found in shuffles if found],
        "unranked": unranked,
        "ranked": not unranked,
    }


def _unranked(
    arm: dict[str, Any], references: Sequence[dict[str, Any]], difference: stats.Paired | None, control: bool
) -> str:
    """Why an arm has no rank; empty for one that has."""
    if control:
        return "a control"
    if not arm["many"]:
        return "fewer than three seeds" if arm["shaper"] else "not trained"
    if not references:
        return f"no {REFERENCE} under this base"
    if len(references) > 1:
        return f"{len(references)} settings of {REFERENCE} under this base"
    if references[0] is arm or (difference and len(difference.seeds) >= RANKED_FROM):
        return ""
    return f"fewer than three seeds in common with {REFERENCE}"


def _shuffles(other: dict[str, Any], rule: dict[str, Any]) -> bool:
    """Whether a shuffle shuffles this very rule: the settings that both have agree, and those of the rule inside,
    which a record tells in another order than those of the rule alone.
    """
    both = other["settings"].keys() & rule["settings"].keys()
    own = [f"{key}={value}" for key, value in rule["settings"].items() if key not in ("shaper_schedule", "view")]
    inside = other["settings"].get("rules")
    same = inside is None or [_parts(one) for one in inside] == [_parts(f"{rule['name']}({', '.join(own)})")]
    return same and all(other["settings"][key] == rule["settings"][key] for key in both)


def _parts(told: str) -> tuple[str, list[str]]:
    """A rule's name and its settings, as `name(setting=value, ...)` tells them, in an order of its own."""
    name, _, settings = told.removesuffix(")").partition("(")
    return name, sorted(settings.split(", "))


def _paired(arm: dict[str, Any], other: dict[str, Any]) -> stats.Paired | None:
    common = arm["by_seed"].keys() & other["by_seed"].keys()
    return stats.paired(arm["by_seed"], other["by_seed"], over_seeds=len(common) >= RANKED_FROM) if common else None


def _lead(arm: dict[str, Any]) -> float:
    """What ranks an arm among those of its base: its paired difference to `uniform`, 0 for that itself."""
    return round(arm["difference"].interval.value, 9) if arm["difference"] else 0.0


def _place(leads: Sequence[float], lead: float) -> int:
    """One more than there are greater ones among ascending leads."""
    return 1 + len(leads) - bisect_right(leads, lead)


def _ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Base by base, best first; equal differences share a rank. Then the unranked, by their means."""
    ranked, unranked = ([arm for arm in rows if arm["ranked"] == has] for has in (True, False))
    leads: defaultdict[str, list[float]] = defaultdict(list)
    for arm in sorted(ranked, key=_lead):
        leads[arm["base"]].append(_lead(arm))
    places = [arm | {"rank": _place(leads[arm["base"]], _lead(arm))} for arm in ranked]
    apart = sorted(unranked, key=lambda arm: (-round(arm["value"], 9), arm["arm"]))
    return sorted(places, key=lambda arm: (_base_order(arm), arm["rank"], arm["arm"])) + [
        arm | {"rank": 0} for arm in apart
    ]


def _base_order(arm: Mapping[str, Any]) -> str:
    """Bases by their name and settings, and by their code only where these are the same."""
    base = json.loads(arm["base"]) or {}
    return json.dumps([base.get("name"), base.get("settings"), base.get("code")], sort_keys=True)


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
