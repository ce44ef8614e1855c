"""Rules on a degraded view on numbers worked out by hand."""

import math

import pytest
import torch

from credit_zoo.errors import UsageError
from credit_zoo.registry import SHAPERS
from credit_zoo.testing import check_shaper
from credit_zoo.types import ShaperInputs, TokenSignals

# Log-ratios of view to picture and their dependence S = exp(d) - d - 1, at most 10.
LN2, S_OF_LN2 = math.log(2), 1 - math.log(2)


def shaped(name, advantage, ratio, settings=None, entropy=0.0, group=None, ids=None, correct=None, **more):
    """The rule's token advantages where the view's log-probability is above the policy's by `ratio`."""
    away = torch.tensor(ratio, dtype=torch.float32)
    values = {"logp": torch.zeros_like(away) - 1, "view_logp": away - 1, "entropy": torch.zeros_like(away)}
    values["entropy"] = values["entropy"] + torch.tensor(entropy)
    values |= {key: torch.tensor(value) for key, value in more.items()}
    rule, count = SHAPERS[name].factory(**(settings or {})), len(away)
    return rule(
        ShaperInputs(
            torch.tensor(advantage),
            TokenSignals({need: values[need] for need in rule.needs}),
            torch.ones_like(away, dtype=torch.bool),
            torch.tensor(group or [0] * count),
            torch.zeros_like(away, dtype=torch.int64) if ids is None else torch.tensor(ids),
            0.5,
            torch.tensor(correct or [0.0] * count),
        )
    )


def close(found, expected):
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)


def test_gate():
    """Log(1 + S) is 0, .267628 and log 11; over log 11 that is 0, .11161 and 1; through the gate 0, .27902 and 3."""
    middle = math.log1p(S_OF_LN2) / math.log(11) / 0.4
    total = middle + 3
    close(shaped("gate", [2.0], [[0.0, LN2, 3.0]]), [[0.0, 6 * middle / total, 18 / total]])
    close(shaped("gate", [2.0], [[0.0, LN2, 3.0]], {"renormalise": False, "floor": 0.5}), [[1.0, 1.0, 6.0]])


def test_a_response_that_the_gate_closes_on_stays_uniform():
    close(shaped("gate", [2.0], [[0.5, 0.5]]), [[2.0, 2.0]])


@pytest.mark.parametrize(
    ("denominator", "expected"), [("all", [[1.1, 0.0], [0.0, -1.8]]), ("kept", [[2.2, 0.0], [0.0, -3.6]])]
)
def test_vppo(denominator, expected):
    """Means 5 and .153 are 1 and 0 of the range, whose mean is 1/2: factors .9 + .1 * 2 and .9."""
    settings = {"keep": 0.5, "denominator": denominator}
    close(shaped("vppo", [1.0, -2.0], [[3.0, 0.0], [0.0, LN2]], settings), expected)


def test_vppo_of_responses_that_need_the_picture_alike():
    close(shaped("vppo", [1.0, 1.0], [[3.0, 0.0], [0.0, 3.0]], {"keep": 0.5}), [[1.0, 0.0], [0.0, 1.0]])


def test_tor():
    settings = {"uncertain": 0.25, "dependent": 0.25}
    found = shaped("tor", [2.0], [[0.0, 0.1, -3.0, 0.2]], settings, entropy=[[4.0, 3.0, 2.0, 1.0]])
    close(found, [[2.0, 0.0, 1.0, 0.0]])


def test_vepo():
    """Scores 0, 1/2 and (1 - (1/2)^.5) at alpha 1/2: one of three is kept and has their whole weight."""
    signals = {"view_divergence": [[0.0, 0.2, 0.1]], "view_entropy": [[1.0, 2.0, 3.0]]}
    found = shaped("vepo", [1.0], [[0.0] * 3], {"alpha": 0.5, "keep": 0.3}, entropy=[[1.0, 2.0, 3.0]], **signals)
    close(found, [[0.0, 3.0, 0.0]])


def test_cgpo():
    """S is 0, .307 and 10: the median .307, the median distance from it .307, so 1 - .1 tanh 1, 1 and 1 + .1."""
    shares = {"uncertain": 1 / 3, "dependent": 1 / 3}
    entropy = [[3.0], [1.0], [2.0]]
    close(shaped("cgpo", [1.0] * 3, [[0.0], [LN2], [3.0]], shares, entropy), [[1.0], [0.0], [1.1]])
    every = {"uncertain": 1.0, "dependent": 1.0}
    found = shaped("cgpo", [1.0] * 3, [[0.0], [LN2], [3.0]], every, entropy)
    close(found, [[1 - 0.1 * math.tanh(1)], [1.0], [1.1]])


def test_rlsd():
    ratio = [[math.log(1.1), 3.0, -3.0]]
    close(shaped("rlsd", [1.0], ratio), [[1.05, 1.1, 0.9]])
    close(shaped("rlsd", [-1.0], ratio), [[-(0.5 + 0.5 / 1.1), -0.9, -1.1]])
    close(shaped("rlsd", [1.0], ratio, {"teacher": "picture"}), [[0.5 + 0.5 / 1.1, 0.9, 1.1]])


def test_pivot_without_the_future():
    """C is 1/2 and -2, which is cut at -1; no token is turned round."""
    ratio = [[-LN2, math.log(3)]] * 2
    close(shaped("pivot", [1.0, -1.0], ratio, {"future": 0.0}), [[1.25, 0.5], [-0.75, -1.5]])
    close(shaped("pivot", [1.0, -1.0], ratio, {"future": 0.0, "beta": 3.0}), [[2.5, 0.0], [0.0, -4.0]])


def test_pivot():
    """C = 1/2, -1, 1/2; F = -1/2, 1/2, 0; u = 1 - 1/e; beside its line, u F is -u/4, u/2, -u/4."""
    settings = {"beta": 1.0, "future": 1.0, "gamma": 0.5, "window": 2}
    found = shaped("pivot", [1.0], [[-LN2, LN2, -LN2]], settings, entropy=[[2.0, 2.0, 2.0]])
    u = 1 - math.exp(-1)
    close(found, [[1.5 - u / 4, u / 2, 1.5 - u / 4]])


def test_tpae():
    """Four right tokens at 1, 3, 1, 3 have the mean 2 and the deviation 1; at 7 a token is 5 away, 1.97 beyond 3.03."""
    rows = {"ratio": [[0.0]] * 5, "entropy": [[1.0], [3.0], [1.0], [3.0], [7.0]], "correct": [1.0] * 4 + [0.0]}
    advantage = [0.5, 0.5, 0.5, 0.5, -2.0]
    lost = 0.5 - 1 / (1 + math.exp(1.97))
    close(shaped("tpae", advantage, **rows), [[0.5]] * 4 + [[-2 - lost]])
    close(shaped("tpae", advantage, **rows, settings={"least": 5}), [[one] for one in advantage])
    close(shaped("tpae", advantage, **rows, group=[0, 0, 0, 0, 1]), [[one] for one in advantage])
    close(shaped("tpae", advantage, **rows, ids=[[7], [7], [7], [7], [8]]), [[one] for one in advantage])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gate", {"tau_kind": "quantile", "tau": 0.25, "beta": 1.0, "floor": 0.1, "renormalise": False}),
        ("gate", {"tau": 1.0}),
        ("gate", {"tau": 0.0}),
        ("vppo", {"denominator": "kept"}),
        ("vepo", {"alpha": 1.0}),
        ("rlsd", {"teacher": "picture", "strength": 1.0, "negative_only": True}),
        ("pivot", {"beta": 3.0, "window": 500}),
        ("tpae", {"least": 2, "tau": 0.0}),
    ],
)
def test_hard_cases_at_other_settings(name, settings):
    check_shaper(SHAPERS[name].factory(**settings))


@pytest.mark.parametrize(
    ("name", "setting", "bad"),
    [
        ("gate", "tau_kind", "share"), ("gate", "floor", 2.0), ("vppo", "denominator", "some"),
        ("rlsd", "teacher", "me"), ("vepo", "keep", 0.0), ("pivot", "window", 0),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(name, setting, bad):
    with pytest.raises(UsageError, match=f"{name}.{setting}"):
        SHAPERS[name].factory(**{setting: bad})
