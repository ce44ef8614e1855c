"""From the files of a work folder to the numbers of a record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from credit_zoo.credit.agreement import agreement
from credit_zoo.credit.estimates import Estimate, Products, ceiling, efficiency, jackknife, sampling_share, statistics
from credit_zoo.credit.measuring import ANOTHER_SAMPLE, CLOSED_FORM, TRUTH_PARTS, Instrument
from credit_zoo.credit.record import RuleCredit, Way
from credit_zoo.credit.settings import REFERENCE, facts
from credit_zoo.credit.values import compared, path_of
from credit_zoo.credit.workspace import load_arrays, rule_digest

GEOMETRIES = ("", "adam_")  # plain, and divided by the roots of the second moments


@dataclass(frozen=True)
class Summary:
    """The fields of a record that follow from the measurements."""

    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Stack:
    """Gradients of all batches `[B, 2, K]` of rules, of the second sample and of the closed form."""

    again: NDArray[np.float32]
    parts: Mapping[str, NDArray[np.float32]]  # by the direction's name, `[J, 2, K]`


def summarise(instrument: Instrument, batches: int) -> Summary:
    """All numbers of the first `batches` batches."""
    tokens = [load_arrays(instrument.work.batch(number) / "tokens.npz") for number in range(batches)]
    twin = instrument.bench.twin is not None
    told = _gradient_numbers(instrument, batches)
    rules = tuple(_rule(instrument, name, batches, tokens, told[name]) for name in instrument.rules)
    correct = np.concatenate([one["correct"] for one in tokens])
    uniform = told[REFERENCE]
    return Summary(
        {
            "batches": batches,
            "responses": len(correct),
            "accuracy": float(correct.mean()),
            "length": float(np.concatenate([one["mask"].sum(1) for one in tokens]).mean()),
            "live": float(np.concatenate([one["advantage"] != 0 for one in tokens]).mean()),
            "direction": "the exact gradient of V" if twin else "uniform's gradient of other batches",
            "projection_error": _projection_error(instrument),
            "noise": {name: uniform[name] for name in ("sampling", "ceiling", "adam_sampling", "adam_ceiling")},
            "way": _way(instrument, tokens, batches, told[CLOSED_FORM]) if twin else None,
            "rules": rules,
            "monte_carlo": compared(instrument, batches) if twin and instrument.bench.settings.compares_values else {},
        }
    )


def _projection_error(instrument: Instrument) -> float:
    projection = instrument.projection
    return (2 / projection.width) ** 0.5 if projection.width < projection.total else 0.0


def _gradient_numbers(instrument: Instrument, batches: int) -> dict[str, dict[str, Estimate]]:
    """The estimates of every rule, of the closed form too; and about uniform's noise."""
    stack = _stack(instrument, batches)
    names = [*instrument.rules, *([CLOSED_FORM] if instrument.bench.twin is not None else [])]
    found: dict[str, dict[str, Estimate]] = {name: {} for name in names}
    for geometry, prefix in enumerate(GEOMETRIES):
        products: dict[str, dict[str, Products]] = {direction: {} for direction in stack.parts}
        for name in tqdm(names, "products", leave=False, disable=None):
            mine = _gradients(instrument, name, batches, geometry)
            again = stack.again[:, geometry] if name == REFERENCE else None
            for direction, parts in stack.parts.items():
                products[direction][name] = Products.of(mine, parts[:, geometry], again)
        for direction, by_name in products.items():
            before = f"{prefix}{direction}"
            for name, numbers in statistics(by_name, REFERENCE).items():
                found[name] |= {f"{before}{key}": value for key, value in numbers.items()}
            for name, one in by_name.items():
                if shuffle := by_name.get(f"permuted({name})"):
                    found[name][f"{before}over_shuffle"] = jackknife(efficiency, one, shuffle)
        uniform = next(iter(products.values()))[REFERENCE]
        found[REFERENCE] |= {
            f"{prefix}sampling": jackknife(sampling_share, uniform),
            f"{prefix}ceiling": jackknife(ceiling, uniform),
        }
    return found


def _stack(instrument: Instrument, batches: int) -> Stack:
    work, settings = instrument.work, instrument.bench.settings
    again = [load_arrays(work.batch(number) / f"{ANOTHER_SAMPLE}.npz")["gradient"] for number in range(batches)]
    uniform = _directions(instrument, REFERENCE, settings.reference)
    if instrument.bench.twin is None:
        return Stack(np.stack(again), {"": uniform})
    return Stack(np.stack(again), {"": _directions(instrument, "truth", TRUTH_PARTS), "by_uniform_": uniform})


def _directions(instrument: Instrument, name: str, count: int) -> NDArray[np.float32]:
    return np.stack([load_arrays(instrument.work.direction(name, number))["gradient"] for number in range(count)])


def _gradients(instrument: Instrument, name: str, batches: int, geometry: int) -> NDArray[np.float32]:
    work = instrument.work
    paths = [
        work.batch(number) / f"{name}.npz" if name == CLOSED_FORM else work.rule(number, name)
        for number in range(batches)
    ]
    return np.stack([load_arrays(path)["gradient"][geometry] for path in paths])


def _rule(
    instrument: Instrument,
    name: str,
    batches: int,
    tokens: Sequence[Mapping[str, NDArray[Any]]],
    numbers: Mapping[str, Estimate],
) -> RuleCredit:
    """One rule's row."""
    kept = [load_arrays(instrument.work.rule(number, name)) for number in range(batches)]
    mass = sum(float(np.abs(one["credit"]).sum()) for one in kept)
    uniform = sum(float((np.abs(one["advantage"]) * one["mask"].sum(1)).sum()) for one in tokens)
    agreed = _agreement([one["credit"] for one in kept], tokens) if instrument.bench.twin is not None else {}
    sampled = _sampled_agreement(instrument, [one["credit"] for one in kept], tokens)
    told = {key: value for key, value in numbers.items() if not key.endswith(("sampling", "ceiling"))}
    seconds = float(np.mean([one["seconds"][0] for one in kept]))
    steps = [
        load_arrays(instrument.work.batch(number) / f"{ANOTHER_SAMPLE}.npz")["seconds"][0] for number in range(batches)
    ]
    return RuleCredit(
        name=name,
        digest=rule_digest(name),
        control=facts(name).control,
        mass=mass / uniform if uniform else 0.0,
        seconds=seconds,
        cost=seconds / float(np.mean(steps)),
        numbers={**told, **agreed, **sampled},
    )


def _agreement(
    credits: Sequence[NDArray[Any]], tokens: Sequence[Mapping[str, NDArray[Any]]]
) -> Mapping[str, Estimate | None]:
    """Whether the credit agrees with the truth, over the responses of all batches."""

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([one[name] for one in tokens])

    mask = joined("mask")
    return agreement(
        np.concatenate(credits).astype(np.float64),
        joined("truth_advantage").astype(np.float64),
        joined("truth_error") > 0,
        mask,
        joined("correct") >= 1,
        joined("group"),
    )


def _sampled_agreement(
    instrument: Instrument, credits: Sequence[NDArray[Any]], tokens: Sequence[Mapping[str, NDArray[Any]]]
) -> Mapping[str, Estimate | None]:
    """The same with values by Monte Carlo, over the responses that have them; nothing without any."""
    if not instrument.bench.settings.compares_values:
        return {}
    values = [load_arrays(path_of(instrument, number)) for number in range(len(tokens))]

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([one[name][value["rows"]] for one, value in zip(tokens, values, strict=True)])

    mask = joined("mask")
    credit = np.concatenate([one[value["rows"]] for one, value in zip(credits, values, strict=True)])
    truth = np.concatenate([value["advantage"] for value in values])
    nothing = np.zeros_like(mask)
    found = agreement(
        credit.astype(np.float64), truth.astype(np.float64), nothing, mask, joined("correct") >= 1, joined("group")
    )
    return {f"mc_{name}": one for name, one in found.items() if name != "first_error"}


def _way(
    instrument: Instrument,
    tokens: Sequence[Mapping[str, NDArray[Any]]],
    batches: int,
    exact: Mapping[str, Estimate],
) -> Way:
    paths = [instrument.work.batch(number) / f"{CLOSED_FORM}.npz" for number in range(batches)]
    values = np.concatenate([load_arrays(path)["value"] for path in paths])
    correct = np.concatenate([one["correct"] for one in tokens])
    another = np.concatenate([one["another_way"] for one in tokens])
    right = correct >= 1
    share = float(another[right].mean()) if right.any() else 0.0
    return Way(float(values.mean()), float(correct.mean()), share, exact)
