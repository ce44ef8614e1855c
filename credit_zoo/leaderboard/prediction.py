"""Does the instrument predict learning? A rule's efficiency before training against what it gains in training.

    gain of a rule    its mean training accuracy less uniform's, paired by seed, in points (the area under the curve)
    rank correlation  Spearman's, of efficiency and gain over the rules, uniform left out, as both are relative to it

The interval draws seeds anew, with replacement and the same ones for all rules, and every efficiency from its own
error; p is the share of all orders of the gains (or of 20,000 at random and this one) that agree at least as well.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from credit_zoo.credit import CreditRecord, RuleCredit, ranks, spearman
from credit_zoo.lab import area
from credit_zoo.results import REFERENCE, RunRecord, grid, logs_every_step, mean_interval, side_by_side

LEAST = 4  # rules; an order of three is chance in one of six
DRAWS = 4_000
ORDERS = 20_000
TRAILING = 5  # steps over which accuracy is averaged
REACHED = 0.9  # of what uniform reaches at the end
Seeds: TypeAlias = Mapping[int, RunRecord]


@dataclass(frozen=True)
class Pair:
    """A rule: its efficiency before training with the standard error, its gain in points for every common seed, and the
    steps to the threshold, a median over the seeds.
    """

    rule: str
    control: bool
    efficiency: float
    error: float
    gains: Mapping[int, float]
    steps: float

    @property
    def gain(self) -> float:
        return float(np.mean(list(self.gains.values())))


@dataclass(frozen=True)
class Prediction:
    """A measurement of the instrument, the runs from its weights, and how far both agree."""

    title: str
    length: int  # steps of a run
    threshold: float  # percent
    uniform_steps: float
    pairs: tuple[Pair, ...]
    rank: float
    low: float
    high: float
    p: float


def predictions(credit: Sequence[CreditRecord], runs: Sequence[RunRecord]) -> list[Prediction]:
    """One for every measurement from whose weights at least four rules were trained beside uniform."""
    found = [_prediction(record, _trained(record, runs)) for record in credit]
    return [one for one in found if one is not None]


def prediction_text(found: Sequence[Prediction]) -> str:
    """A paragraph and a table for each."""
    return "\n".join(f"{_sentence(one)}\n\n{_table(one)}" for one in found)


def steps_to(run: RunRecord, threshold: float) -> float:
    """The first step at which the accuracy of the last five is at the threshold [percent]; infinite without one."""
    whole = _accuracies(run)
    for end in range(TRAILING, len(whole) + 1):
        if whole[end - TRAILING : end].mean() >= threshold:
            return float(end)
    return math.inf


def _accuracies(run: RunRecord) -> NDArray[np.float64]:
    assert run.training is not None
    return 100 * np.array([step["accuracy"] for step in run.training.curve if "accuracy" in step])


def _trained(record: CreditRecord, runs: Sequence[RunRecord]) -> Mapping[str, Seeds]:
    """The runs from a measurement's weights on its benchmark, each step logged: of the trainings that a table compares
    with `uniform`, the one with the most runs.
    """
    twin = record.settings.get("data", "none") in (None, "none")
    fitting = [run for run in runs if run.model.revision == record.weights and logs_every_step(run)]
    sources = [(run, run.training.source) for run in fitting if run.training]
    here = [run for run, source in sources if (source.bench, source.twin) == (record.bench, twin)]
    found = [one for one in side_by_side(here) if REFERENCE in one]
    return max(found, key=lambda by_rule: sum(map(len, by_rule.values())), default={})


def _prediction(record: CreditRecord, runs: Mapping[str, Seeds]) -> Prediction | None:
    uniform = runs.get(REFERENCE, {})
    if not uniform:
        return None
    threshold = REACHED * float(np.mean([_accuracies(run)[-TRAILING:].mean() for run in uniform.values()]))
    known = {one.name: one for one in record.rules}
    pairs = [_pair(known[name], record.headline, runs[name], uniform, threshold) for name in runs if name in known]
    told = sorted((one for one in pairs if one is not None), key=lambda one: (-one.efficiency, one.rule))
    if len(told) < LEAST:
        return None
    rank = spearman(np.array([one.efficiency for one in told]), np.array([one.gain for one in told]))
    low, high = _interval(told)
    length = len(_accuracies(next(iter(uniform.values()))))
    own = float(np.median([steps_to(run, threshold) for run in uniform.values()]))
    return Prediction(record.title, length, threshold, own, tuple(told), rank, low, high, _p(told))


def _pair(one: RuleCredit, headline: str, rule: Seeds, uniform: Seeds, threshold: float) -> Pair | None:
    found, seeds = one.numbers.get(headline), sorted(set(rule) & set(uniform))
    if one.name == REFERENCE or found is None or not math.isfinite(found.error) or not seeds:
        return None
    gains = {seed: area(rule[seed]) - area(uniform[seed]) for seed in seeds}
    steps = float(np.median([steps_to(rule[seed], threshold) for seed in seeds]))
    return Pair(one.name, one.control, found.value, found.error, gains, steps)


def _interval(pairs: Sequence[Pair]) -> tuple[float, float]:
    """The 95% interval of the rank correlation, over seeds and the instrument's own error."""
    rng = np.random.default_rng(0)
    seeds = sorted({seed for one in pairs for seed in one.gains})
    draws = []
    for _ in range(DRAWS):
        weight = np.bincount(rng.integers(len(seeds), size=len(seeds)), minlength=len(seeds))
        by_seed = dict(zip(seeds, weight.tolist(), strict=True))
        gains = np.array([_weighted(one.gains, by_seed) for one in pairs])
        draws.append(spearman(rng.normal([one.efficiency for one in pairs], [one.error for one in pairs]), gains))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _weighted(gains: Mapping[int, float], weight: Mapping[int, int]) -> float:
    """The mean over the drawn seeds; over all where none of a rule's own was drawn."""
    total = sum(weight[seed] for seed in gains)
    if not total:
        return float(np.mean(list(gains.values())))
    return sum(weight[seed] * gain for seed, gain in gains.items()) / total


def _p(pairs: Sequence[Pair]) -> float:
    """How often chance alone orders the gains as well as they are ordered."""
    efficiencies, gains = (
        ranks(np.array(side)) for side in zip(*((one.efficiency, one.gain) for one in pairs), strict=True)
    )
    if math.factorial(len(pairs)) <= ORDERS:
        orders = np.array(list(itertools.permutations(gains)))
    else:
        orders = np.random.default_rng(0).permuted(np.tile(gains, (ORDERS, 1)), axis=1)
    # Of the same ranks the correlation rises with the products' sum alone.
    as_good = orders @ efficiencies >= gains @ efficiencies - 1e-9
    # Of random orders the one at hand is one more, so that p is never 0.
    return float(as_good.mean()) if len(orders) < ORDERS else float((as_good.sum() + 1) / (len(orders) + 1))


def _sentence(one: Prediction) -> str:
    controls = sum(pair.control for pair in one.pairs)
    seeds = min(len(pair.gains) for pair in one.pairs), max(len(pair.gains) for pair in one.pairs)
    count = f"{seeds[0]}" if seeds[0] == seeds[1] else f"{seeds[0]} to {seeds[1]}"
    return (
        f"**{one.title}**: {len(one.pairs)} rules ({controls} of them controls), {one.length} steps, "
        f"{count} paired seeds. Rank correlation of efficiency and gain "
        f"{one.rank:.2f} [{one.low:.2f}, {one.high:.2f}], {_chance(one.p)} by permutation. The threshold is "
        f"{one.threshold:.1f}% of training accuracy, 90% of what `uniform` reaches at the end; it is there after "
        f"{_steps(one.uniform_steps)} steps."
    )


def _chance(p: float) -> str:
    return f"p = {p:.3f}" if p >= 0.001 else "p &lt; 0.001"


def _table(one: Prediction) -> str:
    head = ("rule", "efficiency x uniform", "gain in points [95% over seeds]", "seeds", "steps to the threshold")
    rows = [
        [
            f"{pair.rule} (control)" if pair.control else pair.rule,
            f"{pair.efficiency:.2f} +- {pair.error:.2f}",
            _gain(pair),
            str(len(pair.gains)),
            _steps(pair.steps),
        ]
        for pair in one.pairs
    ]
    return grid(head, rows)


def _gain(pair: Pair) -> str:
    value, low, high = mean_interval(list(pair.gains.values()))
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]" if math.isfinite(low) else f"{value:+.2f}"


def _steps(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "not reached"
