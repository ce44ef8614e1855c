"""Rules on a degraded view against numbers that the official code of each computed on the same inputs.

huaixuheqing/VPPO-RL@a23c54b, Leonnnnnn929/VEPO@4247308, XINGYUN-AI-LAB/XINGYUN_LAB@e2a4e84 (OAR),
zsxm1998/awesome-perception-aware-rlvr@160666d (CGPO), modelscope/ms-swift 4.6.0 (RLSD).
"""

import pytest
import torch

from credit_zoo.policy.divergence import compared_statistics
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs, TokenSignals

LENGTHS = (7, 5, 6, 3)
ADVANTAGE = (1.2, -0.7, 0.4, -1.5)
SIGNALS = {
    "logp": [
        [-2.21, -0.62, -2.05, -2.04, -2.42, -0.32, -0.16], [-1.72, -0.47, -0.02, -1.62, -0.88, -0.92, -1.11],
        [-0.67, -0.94, -0.31, -0.88, -2.04, -0.21, -0.18], [-0.45, -0.27, -0.08, -0.18, -1.08, -0.66, -1.97],
    ],
    "view_logp": [
        [-5.07, -1.05, -2.11, -3.04, -1.59, -0.11, -0.24], [-0.49, -0.01, -0.01, -5.36, -3.21, -2.07, -4.51],
        [-4.62, -0.96, -0.01, -0.01, -2.22, -1.57, -0.01], [-0.15, -0.01, -4.01, -2.78, -0.01, -0.01, -0.98],
    ],
    "entropy": [
        [0.52, 0.78, 0.51, 0.48, 0.41, 1.16, 0.33], [0.72, 1.19, 0.36, 0.4, 0.9, 0.04, 1.0],
        [1.5, 1.32, 0.84, 0.62, 1.45, 0.45, 0.36], [0.3, 1.65, 0.03, 1.18, 0.52, 1.29, 0.74],
    ],
    "view_entropy": [
        [0.96, 1.44, 0.44, 0.26, 0.52, 1.19, 0.56], [0.5, 1.48, 0.23, 0.61, 2.16, 0.28, 1.77],
        [1.88, 2.11, 0.13, 0.03, 2.09, 0.87, 0.22], [0.13, 2.2, 0.04, 0.19, 0.8, 1.46, 0.74],
    ],
    "view_divergence": [
        [0.069, 0.053, 0.075, 0.055, 0.009, 0.012, 0.08], [0.061, 0.02, 0.032, 0.051, 0.129, 0.275, 0.124],
        [0.142, 0.284, 0.221, 0.016, 0.255, 0.207, 0.007], [0.123, 0.211, 0.068, 0.168, 0.029, 0.27, 0.047],
    ],
}  # fmt: skip


def weights(name, **settings):
    """What the rule makes of advantages of 1."""
    return shaped(name, [1.0] * 4, **settings)


def shaped(name, advantage, **settings):
    rule, mask = SHAPERS[name].factory(**settings), torch.arange(7) < torch.tensor(LENGTHS)[:, None]
    signals = TokenSignals({need: torch.tensor(SIGNALS[need]) for need in SHAPERS[name].facts.needs})
    group = torch.zeros(4, dtype=torch.int64)
    ids = torch.zeros(4, 7, dtype=torch.int64)
    return rule(ShaperInputs(torch.tensor(advantage), signals, mask, group, ids, 0.5, torch.zeros(4)))


def padded(rows):
    return torch.tensor([[*row, *[0.0] * (7 - len(row))] for row in rows])


@pytest.mark.parametrize(
    ("keep", "low", "mask", "factor"),
    [
        (0.4, 0.9, [[1, 0, 0, 1, 1], [0, 0, 0, 1, 1], [1, 0, 0, 1, 0, 1], [1, 0, 1]],
         [0.9, 1.075075, 0.972366, 1.052558]),
        (0.6, 0.5, [[1, 1, 0, 1, 1, 1], [1, 0, 0, 1, 1], [1, 0, 1, 1, 0, 1], [1, 0, 1]],
         [0.5, 1.375376, 0.861832, 1.262792]),
    ],
)  # fmt: skip
def test_vppo(keep, low, mask, factor):
    expected = padded(mask) * torch.tensor(factor)[:, None]
    torch.testing.assert_close(weights("vppo", keep=keep, low=low), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("keep", "alpha", "mask"),
    [
        (0.2, 0.7, [[0, 1, 1], [0, 0, 0, 0, 1], [0, 1, 0, 0, 1], [0, 1]]),
        (0.5, 0.3, [[1, 1, 1, 1], [1, 1, 0, 0, 1], [0, 1, 1, 0, 1], [1, 1]]),
    ],
)
def test_vepo(keep, alpha, mask):
    """The release's mask, and its mean over the tokens that the mask leaves."""
    kept = padded(mask)
    expected = kept * torch.tensor(LENGTHS)[:, None] / kept.sum(1, keepdim=True)
    torch.testing.assert_close(weights("vepo", keep=keep, alpha=alpha), expected)


@pytest.mark.parametrize(
    ("tau", "beta", "renormalise", "expected"),
    [
        (0.25, 1.0, False, [
            [2.0, 1.060692, 0.1, 1.283722, 1.347506, 1.009595, 0.117327], [1.55236, 1.0, 0.1, 2.0, 1.637025],
            [2.0, 0.1, 1.018542, 1.290134, 0.641033, 1.337134], [1.004654, 0.1, 2.0],
        ]),
        (0.25, 1.0, True, [
            [2.02346, 1.073134, 0.101173, 1.29878, 1.363312, 1.021437, 0.118704],
            [1.234111, 0.79499, 0.079499, 1.58998, 1.301419],
            [1.878863, 0.093943, 0.95685, 1.211992, 0.602206, 1.256145], [0.970789, 0.096629, 1.932582],
        ]),
        (0.5, 2.0, True, [
            [2.773543, 0.924514, 0.092451, 1.363548, 1.489108, 0.264383, 0.092451],
            [0.888523, 0.132426, 0.088852, 2.665569, 1.22463],
            [2.921167, 0.097372, 0.20297, 1.286442, 0.097372, 1.394676], [0.731707, 0.073171, 2.195122],
        ]),
    ],
)  # fmt: skip
def test_the_gate_of_oar(tau, beta, renormalise, expected):
    """Each response on its own: in one batch, the release goes on with the threshold of the response before."""
    found = weights("gate", tau_kind="quantile", tau=tau, beta=beta, floor=0.1, renormalise=renormalise)
    torch.testing.assert_close(found, padded(expected), atol=1e-5, rtol=0)


def test_cgpo():
    uncertain = padded([[0, 0, 0, 0, 0, 1], [0, 1, 0, 0, 1], [1, 1, 0, 0, 1], [0, 1]])
    dependent = padded([[1], [1, 0, 0, 1, 1], [1, 0, 0, 0, 0, 1], [0, 0, 1]])
    factor = torch.tensor([0.923841, 1.088945, 1.0, 1.08034])[:, None]
    expected = torch.where(dependent > 0, factor, uncertain)
    torch.testing.assert_close(weights("cgpo"), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("strength", "clip", "negative_only", "expected"),
    [
        (0.5, 0.2, False, [
            [1.08, 1.08, 1.165059, 1.08, 1.32, 1.32, 1.15387], [-0.63, -0.63, -0.696517, -0.77, -0.77],
            [0.36, 0.39604, 0.44, 0.44, 0.367054, 0.36], [-1.35, -1.35, -1.65],
        ]),
        (1.0, 0.5, False, [
            [0.6, 0.780611, 1.130118, 0.6, 1.8, 1.480414, 1.10774], [-0.35, -0.441899, -0.693035, -1.05, -1.05],
            [0.2, 0.392079, 0.539944, 0.6, 0.334108, 0.2], [-1.111227, -1.156577, -2.25],
        ]),
        (0.5, 0.2, True, [[1.2] * 7, [-0.63, -0.63, -0.696517, -0.77, -0.77], [0.4] * 6, [-1.35, -1.35, -1.65]]),
    ],
)  # fmt: skip
def test_rlsd(strength, clip, negative_only, expected):
    found = shaped("rlsd", ADVANTAGE, strength=strength, clip=clip, negative_only=negative_only)
    torch.testing.assert_close(found, padded(expected), atol=1e-5, rtol=0)


def test_divergence_and_entropies_of_vepo():
    """Given two rows of logits for each token, as `jsd_masking` has them."""
    here = torch.tensor([
        [[0.51, 1.58, 0.12, -0.51, -1.0], [0.23, 0.55, -0.48, -0.81, -0.13], [0.24, 1.96, -0.76, -1.17, -0.73]],
        [[0.01, -0.69, -1.11, 1.03, 0.46], [0.19, 1.54, 0.28, 0.46, 0.61], [-0.19, 1.16, 0.05, 0.36, -1.18]],
    ])  # fmt: skip
    there = torch.tensor([
        [[0.37, 0.05, -0.63, 1.93, 2.79], [1.19, -1.66, -0.33, -1.39, 0.04], [-0.36, 0.72, 0.14, -0.65, -0.21]],
        [[-0.81, 1.76, 0.21, 1.25, -0.56], [1.04, -0.45, -0.96, -0.65, 0.5], [-0.78, -0.15, -0.58, -0.61, -2.32]],
    ])  # fmt: skip
    head = torch.nn.Linear(5, 5, bias=False)
    head.weight.data = torch.eye(5)
    found = compared_statistics(here, there, head, torch.zeros(2, 3, dtype=torch.int64), at_once=12)
    divergence = [[0.359099, 0.115011, 0.079381], [0.155428, 0.127923, 0.011219]]
    entropy = [[1.015127, 1.145487, 1.487363], [1.220187, 1.334594, 1.468359]]
    torch.testing.assert_close(found.divergence, torch.tensor(divergence), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.entropy, torch.tensor(entropy), atol=1e-6, rtol=0)
