"""The gradient of the mean value of questions, in closed form: no sampling noise at all.

    J' = mean_x d V(x) / d theta = mean_x V(x) * d log V(x) / d theta      V(x) = prod_k pi(y*_k | x, y*[<k])

One teacher-forced pass over the worked solutions y*. It misses what comes right by another way than y*.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.credit.drawing import Solved
from credit_zoo.credit.projection import Projection
from credit_zoo.policy import BatchLayout, Policy, pack
from credit_zoo.rollout import SamplingParams


def true_gradient(
    policy: Policy,
    solved: Solved,
    sampling: SamplingParams,
    projection: Projection,
    micro_batch: int,
) -> tuple[Float[Tensor, "2 K"], Float[Tensor, " N"]]:
    """The projected gradient of the mean of V over N questions, and V of each."""
    count, device = len(solved.prompts), policy.model.device
    rows = BatchLayout(solved.prompts, torch.arange(count), solved.ids, solved.mask).to(device)
    into, values = projection.zeros(), torch.zeros(count, device=device)
    for part in pack(rows.row_of, rows.lengths, rows.prompt_length, rows.mask.shape[1], micro_batch, 0):
        logp = policy(rows.select(part), sampling.temperature, sampling.truncation).logp
        value = masked.total(logp, part.cut(rows.mask))[:, 0].exp()
        values[part.rows] = value.detach()
        mean = value.sum() / count
        projection.add(into, torch.autograd.grad(mean, projection.parameters, allow_unused=True))
    return into, values
