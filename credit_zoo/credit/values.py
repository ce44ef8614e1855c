"""Values of prefixes by Monte Carlo for some responses of every batch, and how far a twin's closed form differs."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_zoo.credit.agreement import mean_over
from credit_zoo.credit.estimates import Estimate
from credit_zoo.credit.measuring import Instrument
from credit_zoo.credit.workspace import load_arrays, save_arrays
from credit_zoo.truth import sampled_values

CLEAR = 2.0  # standard errors: below, a sampled change of value has no sign to compare


def path_of(instrument: Instrument, batch: int) -> Path:
    """The file of a batch's values."""
    settings = instrument.bench.settings
    return instrument.work.batch(batch) / f"values-{settings.mc}-{settings.mc_every}-{_quota(instrument)}.npz"


def _quota(instrument: Instrument) -> int:
    """Responses of each batch whose prefixes are continued."""
    settings = instrument.bench.settings
    return math.ceil(settings.mc_responses / settings.batches)


def measure_values(instrument: Instrument, batch: int) -> None:
    """Continues the prefixes of some responses of groups with right and wrong answers, spread over the batch."""
    bench, path = instrument.bench, path_of(instrument, batch)
    if path.exists():
        return
    settings, rollout = bench.settings, instrument.rollout(batch)
    live = np.flatnonzero(load_arrays(instrument.work.batch(batch) / "tokens.npz")["advantage"])
    spread = np.linspace(0, len(live) - 1, min(_quota(instrument), len(live))).round().astype(int)
    rows = live[spread].tolist()
    found = sampled_values(
        bench.worker,
        bench.asked(rollout),
        rollout,
        rows,
        bench.sampling,
        settings.mc,
        settings.mc_every,
        seed=settings.seed,
    )
    arrays = {"value": found.value.numpy(), "error": found.error.numpy(), "advantage": found.advantage.numpy()}
    save_arrays(path, {**arrays, "rows": np.array(rows, dtype=np.int64)})


def compared(instrument: Instrument, batches: int) -> dict[str, Estimate | None]:
    """Sampled against closed form, over the responses whose values were sampled: the mean difference of the values of
    prefixes, its mean size, the size that sampling alone would give, the share of clear changes (more than 2 standard
    errors) whose sign both agree on, and the share of wrong answers whose decisive token is the same.
    """
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in _NAMES}
    for batch in range(batches):
        values = load_arrays(path_of(instrument, batch))
        tokens = load_arrays(instrument.work.batch(batch) / "tokens.npz")
        for place, row in enumerate(values["rows"]):
            valid, group = tokens["mask"][row], int(tokens["group"][row])
            closed = tokens["truth_advantage"][row][valid].astype(np.float64)
            sampled = {name: values[name][place] for name in ("value", "error", "advantage")}
            for name, number in _of_response(closed, sampled, bool(tokens["correct"][row] >= 1)).items():
                found[name].append((number, group))
    return {name: _mean(pairs) for name, pairs in found.items()}


_NAMES = ("difference", "distance", "sampling_error", "sign", "same_token")


def _of_response(closed: NDArray[np.float64], sampled: Mapping[str, NDArray[Any]], right: bool) -> dict[str, float]:
    count = len(closed)
    value = np.concatenate([[0.0], closed.cumsum()])
    value += float(right) - value[-1]  # both end at the response's own score
    difference = sampled["value"][:count].astype(np.float64) - value[:count]
    error, change = sampled["error"].astype(np.float64), sampled["advantage"][:count].astype(np.float64)
    found = {
        "difference": float(difference.mean()),
        "distance": float(np.abs(difference).mean()),
        "sampling_error": float(error[:count].mean()) * math.sqrt(2 / math.pi),
    }
    clear = np.abs(change) > CLEAR * np.hypot(error[1 : count + 1], error[:count])
    clear &= change != 0
    if clear.any():
        found["sign"] = float((np.sign(change[clear]) == np.sign(closed[clear])).mean())
    if not right and closed.min() < 0 and change.min() < 0:
        found["same_token"] = float(closed.argmin() == change.argmin())
    return found


def _mean(pairs: list[tuple[float, int]]) -> Estimate | None:
    if not pairs:
        return None
    values, groups = zip(*pairs, strict=True)
    return mean_over(np.array(values), np.array(groups))
