"""What every shaper is held to, for anyone to run: `check_shaper("pepo")`, `check_shaper(Mine(strength=0.3))`.

`check_shaper` runs each of `CHECKS` on built-in hard cases and raises an AssertionError that says what is wrong.
`shaper_inputs` is a Hypothesis strategy for the same checks. Tolerances are relative to the largest advantage of the
row and grow with the largest signal: float32 leaves a softmax of scores near 1e4 no more than three digits.
"""

import contextlib
import pickle
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, FrozenInstanceError, fields, is_dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.objective import ContractError, Shaper, shape
from credit_zoo.registry import SHAPERS, Entry, ShaperFacts
from credit_zoo.rule_names import heads_of
from credit_zoo.testing.hard_inputs import hard_cases, measured, padded, shaper_inputs, with_empty_row
from credit_zoo.types import SIGNALS, ShaperInputs, TokenSignals, UndeclaredSignal

__all__ = ["CHECKS", "NUMBERS", "Check", "check_shaper", "hard_cases", "shaper_inputs", "signals_for"]

Check = Callable[[Entry[ShaperFacts], Shaper, ShaperInputs], None]


def check_shaper(shaper: str | Shaper, checks: Sequence[Check] | None = None) -> None:
    """Holds a registered shaper, by name (default settings) or as an instance, to the whole contract, or to some of
    its checks.
    """
    entry = SHAPERS[shaper] if isinstance(shaper, str) else SHAPERS.of(shaper)
    instance = entry.factory() if isinstance(shaper, str) else shaper
    for check in CHECKS if checks is None else checks:
        for case, inputs in hard_cases().items():
            try:
                check(entry, instance, inputs)
            except AssertionError as error:
                raise AssertionError(f"{error} [{check.__name__} on '{case}']") from error


def signals_for(entry: Entry[ShaperFacts]) -> tuple[str, ...]:
    """The signals that the checks of this shaper read: its own and those of the shaper that it reduces to."""
    other = SHAPERS[entry.facts.reduces_to[0]].facts.needs if entry.facts.reduces_to else ()
    return tuple(name for name in SIGNALS if name in (*entry.facts.needs, *other))


def _shaped(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> Float[Tensor, "B T"]:
    try:
        return shape(shaper, x)
    except (ContractError, UndeclaredSignal) as error:
        raise AssertionError(str(error) if entry.name in str(error) else f"shaper '{entry.name}': {error}") from error


def _assert_close(actual: Tensor, expected: Tensor, x: ShaperInputs, sentence: str) -> None:
    largest = [masked.fill(values, x.mask).abs().max().item() for values in x.signals.values.values()]
    slack = 1e-6 * max([1.0, *largest]) * expected.abs().amax(-1, keepdim=True)
    excess = ((actual - expected).abs() - slack).amax(-1)
    assert (excess <= 0).all(), f"{sentence} (row {int(excess.argmax())}: off by {(actual - expected).abs().max():.3g})"


def check_declared_signals(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """It reads the signals of its `needs` and no others."""
    unknown = [name for name in entry.facts.needs if name not in SIGNALS]
    assert not unknown, f"'{entry.name}' needs unknown signals {unknown}; there are: {', '.join(SIGNALS)}"
    try:
        with contextlib.suppress(ContractError):
            shape(shaper, x)
    except UndeclaredSignal as error:
        raise AssertionError(f"'{entry.name}' reads a signal that it does not declare: {error}") from error


def check_frame(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """Float32 `[B, T]`, finite, 0 outside the mask."""
    _shaped(entry, shaper, x)


def check_junk_outside_mask(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """NaN, infinities and other ids outside the mask change nothing."""
    expected = _shaped(entry, shaper, x)
    for junk in (torch.nan, torch.inf, -torch.inf):
        dirty = measured(x, lambda values, junk=junk: values.masked_fill(~x.mask, junk))  # type: ignore[misc]
        actual = _shaped(entry, shaper, replace(dirty, ids=x.ids.masked_fill(~x.mask, 151_643)))
        _assert_close(actual, expected, x, f"'{entry.name}' reads what stands outside the mask ({junk} there shows)")


def check_padding(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """Columns outside the mask, wherever they are added, change nothing."""
    width = x.mask.shape[1]
    column = torch.arange(width)
    middle = column + 3 * (column >= width // 2)
    expected = _shaped(entry, shaper, x)
    for where, places in (("left", column + 3), ("right", column), ("middle", middle)):
        actual = _shaped(entry, shaper, padded(x, places, width + 3))[:, places]
        _assert_close(actual, expected, x, f"'{entry.name}' changes with padding on the {where}")


def check_row_permutation(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """Reordered rows give reordered results."""
    rows = torch.arange(len(x.mask))
    expected = _shaped(entry, shaper, x)
    for order in (rows.flip(0), rows.roll(1)):
        actual = _shaped(entry, shaper, x.rows(order))
        _assert_close(actual, expected[order], x, f"'{entry.name}' depends on the order of the rows")


def check_micro_batches(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """A row's result is the same alone (scope "response"), with its group alone ("group"), and among others."""
    if entry.facts.scope == "batch":
        return
    unit = torch.arange(len(x.mask)) if entry.facts.scope == "response" else x.group
    alone, expected = torch.zeros(x.mask.shape), _shaped(entry, shaper, x)
    for rows in ((unit == one).nonzero()[:, 0] for one in sorted(set(unit.tolist()))):
        alone[rows] = _shaped(entry, shaper, x.rows(rows))
    others = "the other rows" if entry.facts.scope == "response" else "other groups"
    sentence = f"""'{entry.name}' has scope "{entry.facts.scope}", but a row's result depends on {others}"""
    _assert_close(alone, expected, x, sentence)


def check_group_numbers(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """Which number a group has changes nothing."""
    actual = _shaped(entry, shaper, replace(x, group=1000 - 7 * x.group))
    _assert_close(actual, _shaped(entry, shaper, x), x, f"'{entry.name}' reads the numbers of groups")


def check_empty_rows(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """A row without a token in the mask changes nothing, wherever it stands and whatever group it is of."""
    expected, last = _shaped(entry, shaper, x), len(x.mask)
    for place, group in ((0, -1), (last // 2, int(x.group[0])), (last, int(x.group[-1]))):
        actual = _shaped(entry, shaper, with_empty_row(x, place, group))
        others = torch.cat([actual[:place], actual[place + 1 :]])
        _assert_close(others, expected, x, f"'{entry.name}' changes with a row that has no token")


def check_mean(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """The promise `preserves_mean`."""
    if entry.facts.preserves_mean:
        expected = x.advantage[:, None].float() * x.mask.any(-1, keepdim=True)
        actual = masked.mean(_shaped(entry, shaper, x), x.mask)
        _assert_close(actual, expected, x, f"'{entry.name}' promises preserves_mean, but the mean moves")


def check_sign(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """The promise `preserves_sign`."""
    if entry.facts.preserves_sign:
        flipped = _shaped(entry, shaper, x) * x.advantage[:, None] < 0
        assert not flipped.any(), f"'{entry.name}' promises preserves_sign, but turns {int(flipped.sum())} tokens round"


def check_reduction(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """The promise `reduces_to`, all other settings at their defaults."""
    if entry.facts.reduces_to is not None:
        name, settings = entry.facts.reduces_to
        other = SHAPERS[name]
        actual = _shaped(entry, entry.factory(**settings), x)
        expected = _shaped(other, other.factory(), x)
        _assert_close(actual, expected, x, f"'{entry.name}' at {dict(settings)} differs from '{name}'")


def check_inputs_unmodified(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """It writes into nothing that it was handed."""
    clean = measured(x, lambda values: values.float())
    given = {"advantage": x.advantage, "mask": x.mask, "group": x.group, "ids": x.ids, **clean.signals.values}
    before = {name: tensor.clone() for name, tensor in given.items()}
    _shaped(entry, shaper, clean)
    for name, tensor in given.items():
        assert torch.equal(tensor, before[name]), f"'{entry.name}' modifies its input '{name}'"


def check_determinism(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """The same bits twice, whatever the state of the global random generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = _shaped(entry, shaper, x)
        torch.manual_seed(2)
        assert torch.equal(first, _shaped(entry, shaper, x)), f"'{entry.name}' gives another result the second time"


def check_gradient(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """A policy gradient reaches the log-probabilities by their own path only."""
    leaves = {name: values.detach().float().requires_grad_() for name, values in x.signals.values.items()}
    advantage = x.advantage.detach().clone().requires_grad_()
    result = _shaped(entry, shaper, replace(x, advantage=advantage, signals=TokenSignals(leaves)))
    assert not result.requires_grad, f"the result of '{entry.name}' carries a gradient"
    logp = leaves.setdefault("logp", torch.zeros_like(result, requires_grad=True))
    (logp * result).sum().backward()  # type: ignore[no-untyped-call]
    others = [name for name, leaf in leaves.items() if name != "logp" and leaf.grad is not None]
    assert advantage.grad is None and not others, f"a gradient flows through the weights of '{entry.name}'"
    assert logp.grad is not None and torch.equal(logp.grad, result), f"'{entry.name}' adds to the gradient of logp"


def check_progress(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """It works at the first and at the last step."""
    for progress in (0.0, 1.0):
        _shaped(entry, shaper, replace(x, progress=progress))


def check_docstring(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """A summary sentence of at most 90 characters, an indented equation, the paper."""
    summary = entry.doc.split("\n")[0]
    assert 0 < len(summary) <= 90, (
        f"'{entry.name}': the docstring's first line has {len(summary)} of 1 to 90 characters"
    )
    assert summary.endswith("."), f"'{entry.name}': the docstring's first line must be a sentence, got '{summary}'"
    equation = re.search(r"^ {4,}\S.*=", entry.doc, re.MULTILINE)
    assert equation, f"'{entry.name}': the docstring has no equation (a line indented by 4 with a '=')"
    paper = entry.facts.paper
    assert paper and paper in entry.doc, f"'{entry.name}': the docstring does not name the paper '{paper}'"


def check_settings(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """Every setting has a default; a numeric one refuses NaN and words by the name that a user types."""
    for setting in fields(entry.factory):
        typed = f"{heads_of(entry.name)[0]}.{setting.name}"
        assert setting.default is not MISSING or setting.default_factory is not MISSING, f"{typed} has no default"
        if isinstance(setting.default, bool) or not isinstance(setting.default, (int, float)):
            continue
        for bad in (float("nan"), "x"):
            instance = entry.factory()
            try:  # not through __init__, where a type checker under test runs would get in first
                object.__setattr__(instance, setting.name, bad)
                getattr(instance, "__post_init__", bool)()
            except Exception as error:
                assert typed in str(error), f"the error for a bad {typed} does not name it: {error}"
            else:
                raise AssertionError(f"{typed}={bad!r} is accepted; call check_range in __post_init__")


def check_instance(entry: Entry[ShaperFacts], shaper: Shaper, x: ShaperInputs) -> None:
    """A frozen dataclass that hashes and pickles, so that it can be a key and reach other processes."""
    assert is_dataclass(shaper), f"'{entry.name}' is not a dataclass"
    try:
        setattr(replace(shaper), next((setting.name for setting in fields(shaper)), "anything"), None)
    except FrozenInstanceError:
        pass
    else:
        raise AssertionError(f"'{entry.name}' is not frozen: @dataclass(frozen=True)")
    assert hash(shaper) == hash(replace(shaper)), f"two equal instances of '{entry.name}' have different hashes"
    assert pickle.loads(pickle.dumps(shaper)) == shaper, f"'{entry.name}' changes when it is pickled"


# What a rule computes, which a run depends on; and beside it how a rule is written.
NUMBERS: tuple[Check, ...] = (
    check_declared_signals,
    check_frame,
    check_junk_outside_mask,
    check_padding,
    check_row_permutation,
    check_micro_batches,
    check_group_numbers,
    check_empty_rows,
    check_mean,
    check_sign,
    check_reduction,
    check_inputs_unmodified,
    check_determinism,
    check_gradient,
    check_progress,
)
CHECKS: tuple[Check, ...] = (*NUMBERS, check_docstring, check_settings, check_instance)
