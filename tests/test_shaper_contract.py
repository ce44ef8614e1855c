"""Every registered shaper against every check of `credit_zoo.testing.contract`, and proof that the checks can fail."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_zoo import masked
from credit_zoo.registry import SHAPERS
from credit_zoo.testing import contract as testing
from credit_zoo.testing.contract import CHECKS, NUMBERS, check_shaper, signals_for
from credit_zoo.testing.hard_inputs import hard_cases, shaper_inputs

PLUGIN = '''"""Rare tokens get more credit.

    A[b,t] = A[b] * (1 + strength * (s - mean s))         s: -logp, min-max scaled

Paper: none (demonstration)."""
from dataclasses import dataclass

from credit_zoo import masked
from credit_zoo.registry import SHAPERS, check_range


@SHAPERS.register("{name}", paper="none (demonstration)", needs=("logp",), preserves_mean=True, preserves_sign=True,
                  reduces_to=("uniform", {{"strength": 0.0}}))
@dataclass(frozen=True)
class Mine:
    strength: float = 0.5  # dimensionless, [0, 1]

    def __post_init__(self):
        check_range("{name}.strength", self.strength, 0, 1)

    def __call__(self, x):
        surprise = masked.minmax(-x.signals.logp, x.mask)
        return x.weighted(1 + self.strength * (surprise - masked.mean(surprise, x.mask)))
'''


@pytest.mark.parametrize("name", list(SHAPERS))
@settings(max_examples=2)
@given(data=st.data())
def test_contract(name, data):
    """Every check on the same few drawn inputs: what a check finds it says by its own sentence."""
    entry = SHAPERS[name]
    x = data.draw(shaper_inputs(signals_for(entry)))
    for check in NUMBERS:
        check(entry, entry.factory(), x)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", list(SHAPERS))
@settings(max_examples=24)
@given(data=st.data())
def test_contract_thoroughly(name, check, data):
    entry = SHAPERS[name]
    check(entry, entry.factory(), data.draw(shaper_inputs(signals_for(entry))))


COMBINED = (
    *(f"permuted({name})" for name in SHAPERS),
    *(f"{head}({name})" for head in ("position_only", "renormalised") for name in ("pepo", "high_entropy", "sharpen")),
    *("mean(pepo,entropy)", "product(high_entropy,pepo)", "permuted(mean(pepo,product(entropy,high_entropy)))"),
)


@pytest.mark.parametrize("name", [*SHAPERS, *COMBINED])
def test_hard_cases(name):
    check_shaper(name)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("pepo", {"alpha": 1.0, "temperature": 0.05}),
        ("high_entropy", {"rho": 0.5, "denominator": "kept"}),
        ("high_entropy", {"threshold": "response", "denominator": "kept"}),
        ("polarity_entropy", {"rho": 0.5, "positive_high": False, "negative_low": True}),
        ("gtpo", {"normalize": "group", "entropy": 1.0}),
        ("ktae", {"eps": 1.0, "strength": 2.0}),
        ("vgpo", {"gamma": 0.0, "kappa": 1.0, "beta": 2.0}),
        ("vgpo", {"of_tokens": False}),
        ("fipo", {"half_life": 1.0, "span": 1.0, "high_only": False, "cap": 1.1, "tolerated": 0.0}),
        ("length", {"power": -1.0}),
        ("permuted(pepo)", {"seed": 3}),
        ("additive", {"temperature": 0.1}),
    ],
)
def test_hard_cases_at_other_settings(name, changed):
    check_shaper(SHAPERS[name].factory(**changed))


def test_a_shaper_outside_the_repository_passes(tmp_path, own_registrations):
    file = tmp_path / "outsider.py"
    file.write_text(PLUGIN.format(name="outsider"))
    own_registrations.add_plugin(file)
    check_shaper("outsider")


def test_a_plugin_is_tested_from_the_command_line(tmp_path):
    file = tmp_path / "visitor.py"
    file.write_text(PLUGIN.format(name="visitor"))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--plugins",
        file,
        __file__,
        "-k",
        "visitor",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{len(CHECKS) + 3} passed" in run.stdout


@SHAPERS.register("broken_nan", paper="none")
@dataclass(frozen=True)
class BrokenNan:
    def __call__(self, x):
        return x.weighted(torch.ones_like(x.mask, dtype=torch.float32)) * torch.nan


@SHAPERS.register("broken_outside", paper="none")
@dataclass(frozen=True)
class BrokenOutside:
    def __call__(self, x):
        return x.advantage[:, None].expand(x.mask.shape)


@SHAPERS.register("broken_scope", paper="none", needs=("entropy",))
@dataclass(frozen=True)
class BrokenScope:
    def __call__(self, x):
        return x.weighted((x.signals.entropy > masked.quantile(x.signals.entropy, x.mask, 0.5)).float())


@SHAPERS.register("broken_groups", paper="none", scope="group")
@dataclass(frozen=True)
class BrokenGroups:
    def __call__(self, x):
        return x.weighted((1 + x.group % 3)[:, None].expand(x.mask.shape).float())


@SHAPERS.register("broken_rows", paper="none", scope="batch")
@dataclass(frozen=True)
class BrokenRows:
    def __call__(self, x):
        return x.weighted(torch.full_like(x.mask, 1 / len(x.mask), dtype=torch.float32))


@SHAPERS.register("broken_mean", paper="none", needs=("entropy",), preserves_mean=True)
@dataclass(frozen=True)
class BrokenMean:
    def __call__(self, x):
        return x.weighted(1 + masked.minmax(x.signals.entropy, x.mask))


@SHAPERS.register("broken_needs", paper="none", needs=("logp",))
@dataclass(frozen=True)
class BrokenNeeds:
    def __call__(self, x):
        return x.weighted(x.signals.entropy)


@SHAPERS.register("broken_sign", paper="none", preserves_sign=True)
@dataclass(frozen=True)
class BrokenSign:
    def __call__(self, x):
        return masked.fill(1 + 0 * x.mask.float(), x.mask)


@SHAPERS.register("broken_order", paper="none")
@dataclass(frozen=True)
class BrokenOrder:
    def __call__(self, x):
        return x.weighted(torch.arange(len(x.mask))[:, None].expand(x.mask.shape).float())


@SHAPERS.register("broken_padding", paper="none")
@dataclass(frozen=True)
class BrokenPadding:
    def __call__(self, x):
        return x.weighted(torch.full_like(x.mask, 1 / x.mask.shape[1], dtype=torch.float32))


@SHAPERS.register("broken_junk", paper="none", needs=("entropy",))
@dataclass(frozen=True)
class BrokenJunk:
    def __call__(self, x):
        return x.weighted(x.signals.entropy.nan_to_num(0, 5, -5).sum(-1, keepdim=True).expand(x.mask.shape))


@SHAPERS.register("broken_reduction", paper="none", reduces_to=("uniform", {"factor": 1.0}))
@dataclass(frozen=True)
class BrokenReduction:
    factor: float = 3.0

    def __call__(self, x):
        return x.weighted(torch.full_like(x.mask, 1 + self.factor, dtype=torch.float32))


@SHAPERS.register("broken_writer", paper="none", needs=("entropy",))
@dataclass(frozen=True)
class BrokenWriter:
    def __call__(self, x):
        return x.weighted(x.signals.entropy.add_(1))


@SHAPERS.register("broken_dice", paper="none")
@dataclass(frozen=True)
class BrokenDice:
    def __call__(self, x):
        return x.weighted(torch.rand(x.mask.shape))


@SHAPERS.register("broken_gradient", paper="none")
@dataclass(frozen=True)
class BrokenGradient:
    def __call__(self, x):
        with torch.enable_grad():
            return x.weighted(torch.ones(x.mask.shape, requires_grad=True))


@SHAPERS.register("broken_start", paper="none")
@dataclass(frozen=True)
class BrokenStart:
    def __call__(self, x):
        return x.weighted(torch.full_like(x.mask, 1.0, dtype=torch.float32)) / torch.tensor(x.progress)


@SHAPERS.register("broken_settings", paper="none")
@dataclass(frozen=True)
class BrokenSettings:
    """No equation, no paper."""

    factor: float = 3.0

    def __call__(self, x):
        return x.weighted(torch.full_like(x.mask, self.factor, dtype=torch.float32))


@SHAPERS.register("broken_thawed", paper="none")
@dataclass(unsafe_hash=True)
class BrokenThawed:
    factor: float = 3.0

    def __call__(self, x):
        return x.weighted(torch.full_like(x.mask, self.factor, dtype=torch.float32))


BROKEN = [
    (BrokenNan, testing.check_frame, r"not finite \(row 0, token 0\)"),
    (BrokenOutside, testing.check_frame, "outside the mask"),
    (BrokenScope, testing.check_micro_batches, "depends on the other rows"),
    (BrokenGroups, testing.check_group_numbers, "reads the numbers of groups"),
    (BrokenRows, testing.check_empty_rows, "changes with a row that has no token"),
    (BrokenMean, testing.check_mean, "promises preserves_mean"),
    (BrokenNeeds, testing.check_declared_signals, 'add "entropy" to its needs'),
    (BrokenSign, testing.check_sign, "promises preserves_sign"),
    (BrokenOrder, testing.check_row_permutation, "order of the rows"),
    (BrokenPadding, testing.check_padding, "changes with padding"),
    (BrokenJunk, testing.check_junk_outside_mask, "outside the mask"),
    (BrokenReduction, testing.check_reduction, "differs from 'uniform'"),
    (BrokenWriter, testing.check_inputs_unmodified, "modifies its input 'entropy'"),
    (BrokenDice, testing.check_determinism, "second time"),
    (BrokenGradient, testing.check_gradient, "carries a gradient"),
    (BrokenStart, testing.check_progress, "not finite"),
    (BrokenSettings, testing.check_settings, "broken_settings.factor=nan is accepted"),
    (BrokenSettings, testing.check_docstring, "no equation"),
    (BrokenThawed, testing.check_instance, "not frozen"),
]


def test_every_check_has_a_shaper_that_it_refuses():
    assert {check for _, check, _ in BROKEN} == set(CHECKS)


@pytest.mark.parametrize(("factory", "check", "sentence"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_shaper_is_refused_by_the_right_check(factory, check, sentence):
    shaper = factory()
    with pytest.raises(AssertionError, match=sentence):
        check(SHAPERS.of(shaper), shaper, hard_cases()["ordinary values"])
    with pytest.raises(AssertionError, match=SHAPERS.of(shaper).name):
        check_shaper(shaper)
