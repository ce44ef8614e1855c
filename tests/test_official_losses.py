"""Policy losses and estimators against numbers that the published implementations computed from the same inputs.

    gspo, sapo, cispo, opo, reinforce_pp, reinforce_pp_baseline     verl-project/verl@1dda039
    clip_cov, kl_cov                                                PRIME-RL/Entropy-Mechanism-of-RL@8850579
    perception                                                      worked out from MikeWangWZHL/PAPO@fb63bf4

Losses and gradients with respect to the log-probabilities, rounded to six decimals there.
"""

import pytest
import torch

from credit_zoo.objective.covariance import ResponsesOfStep
from credit_zoo.objective.losses import Objective, TokenBatch, Totals
from credit_zoo.objective.perception import perception_gap
from credit_zoo.registry import AGGREGATIONS, ESTIMATORS, LOSSES, RATIOS

LOGP = -torch.tensor([[0.1, 2.5, 0.4, 1.2, 0.9], [3.0, 0.2, 0.7, 0.05, 1.0], [0.6, 4.0, 0.3, 2.0, 0.8]])
LOG_RATIO = torch.tensor([[0.3, -0.5, 0.1, 0.0, 0.2], [-0.4, 0.6, 0.05, -0.1, 0.3], [0.2, -0.3, 1.5, 0.4, -0.2]])
MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
SHAPED = torch.tensor([[1.0, -0.5, 2.0, 0.5, 1.0], [-1.0, -2.0, 0.5, -0.25, -1.0], [0.75, -1.5, -1.0, 2.0, 1.0]])
RESPONSE = torch.tensor([2.0, -1.0, -3.0])


def loss_and_gradient(advantage, aggregation, loss, ratio="token", selected=None, **settings):
    logp = LOGP.clone().requires_grad_()
    policy = Objective(RATIOS[ratio].factory(), LOSSES[loss].factory(**settings), AGGREGATIONS[aggregation].factory())
    batch = TokenBatch(logp, LOGP - LOG_RATIO, advantage, MASK, selected=selected)
    value, stats = policy(batch, Totals(3, 12, 5))
    value.backward()
    return value.item(), logp.grad, stats


def assert_is(found, value, gradient):
    assert found[0] == pytest.approx(value, abs=2e-6)
    torch.testing.assert_close(found[1], torch.tensor(gradient), atol=2e-6, rtol=0)


def test_gspo_token():
    narrow = [[-0.081276, 0, -0.162552, -0.040638, 0], [0.072945, 0.14589, 0, 0.018236, 0.072945]]
    wide = [[-0.081276, 0.040638, -0.162552, -0.040638, 0], [0.072945, 0.14589, -0.036472, 0.018236, 0.072945]]
    last = [0, 0.265778, 0.177186, 0, 0]
    found = [
        loss_and_gradient(SHAPED, "seq_mean_token_mean", "ppo_clip", "gspo_token", eps_low=low, eps_high=high)
        for low, high in ((3e-4, 4e-4), (0.2, 0.28))
    ]
    assert_is(found[0], 0.393455, [*narrow, last])
    assert_is(found[1], 0.366013, [*wide, last])
    assert [one[2].clipped for one in found] == [3, 1]


def test_sapo():
    gradient = [
        [-0.109115, 0.024224, -0.183687, -0.041667, 0],
        [0.043376, 0.202771, -0.035019, 0.015043, 0.087022],
        [-0.100546, 0.121212, 0.048912, 0, 0],
    ]
    assert_is(loss_and_gradient(SHAPED, "seq_mean_token_mean", "sapo"), 0.509903, gradient)


@pytest.mark.parametrize(
    ("lowest", "highest", "value", "gradient"),
    [
        (
            *(0.8, 1.28, -0.6548),
            [
                [-0.106667, 0.033333, -0.184195, -0.041667, 0],
                [0.066667, 0.213333, -0.043803, 0.018851, 0.106667],
                [-0.076338, 0.1, 0.106667, 0, 0],
            ],
        ),
        (
            *(0.0, 1.2, -0.562772),
            [
                [-0.1, 0.025272, -0.184195, -0.041667, 0],
                [0.05586, 0.2, -0.043803, 0.018851, 0.1],
                [-0.075, 0.092602, 0.1, 0, 0],
            ],
        ),
    ],
)
def test_cispo(lowest, highest, value, gradient):
    found = loss_and_gradient(SHAPED, "token_mean", "cispo", lowest=lowest, highest=highest)
    assert_is(found, value, gradient)
    assert found[2].clipped == {0.8: 7, 0.0: 5}[lowest]


# The published code takes the covariance of the current policy, which is what the selection is shown here.
STEP = ResponsesOfStep(RESPONSE, LOGP, MASK, torch.arange(15).view(3, 5), torch.tensor([0, 0, 1]))
PLAIN = [
    [-0.224976, -0.101088, -0.184195, -0.166667, 0],
    [0.05586, 0.151843, 0.087606, 0.075403, 0.112488],
    [0.305351, 0.185205, 1.120422, 0, 0],
]


def test_clip_cov():
    """Two tokens have a covariance in (1, 5); half of all may be taken, so that nothing is left to chance."""
    selected = LOSSES["clip_cov"].factory(share=0.5).select(STEP)
    assert selected.nonzero().tolist() == [[0, 0], [0, 2]]
    gradient = [[0, -0.101088, 0, -0.166667, 0], *PLAIN[1:]]
    found = loss_and_gradient(RESPONSE[:, None].expand(3, 5), "token_mean", "clip_cov", selected=selected)
    assert_is(found, 1.826423, gradient)
    assert found[2].clipped == 2


def test_kl_cov():
    selected = LOSSES["kl_cov"].factory(share=0.1).select(STEP)
    assert selected.nonzero().tolist() == [[2, 1]]
    gradient = [*PLAIN[:2], [0.305351, 0.101871, 1.120422, 0, 0]]
    found = loss_and_gradient(RESPONSE[:, None].expand(3, 5), "token_mean", "kl_cov", selected=selected)
    assert_is(found, 1.442251, gradient)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("opo", [0.166667, -0.833333, 1.166667, 0.375, 0.375, -0.625]),
        ("reinforce_pp_baseline", [0.132053, -1.254502, 1.518608, 0.594238, 0.594238, -0.792317]),
        ("reinforce_pp", [0.393398, -0.983495, 1.77029, 0.393398, 0.393398, -0.983495]),
    ],
)
def test_estimators_that_look_at_lengths(name, expected):
    reward, group = torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0, 0.0]), torch.tensor([0, 0, 0, 1, 1, 1])
    found = ESTIMATORS[name].factory()(reward, group, torch.tensor([1.0, 3.0, 2.0, 4.0, 1.0, 3.0]))
    torch.testing.assert_close(found, torch.tensor(expected), atol=2e-6, rtol=0)


# log q - log p = log 2, -log 2, 3 and 30: k3 = 2 - log 2 - 1, 1/2 + log 2 - 1, e^3 - 4 > 10 and the same at 20 > 10.
def test_perception_is_k3_up_to_ten():
    logp = torch.tensor([[-1.0, -1.0, -4.0, -40.0, 0.0]]).requires_grad_()
    view = torch.tensor([[-1 + 0.6931472, -1 - 0.6931472, -1.0, -10.0, 7.0]])
    found = perception_gap(logp, view, torch.tensor([[True, True, True, True, False]]))
    torch.testing.assert_close(found, torch.tensor([[0.3068528, 0.1931472, 10.0, 10.0, 0.0]]))
    found.sum().backward()
    torch.testing.assert_close(logp.grad, torch.tensor([[-1.0, 0.5, 0, 0, 0]]))
