"""A base: everything of the loss that is not the shaper, put together from registered pieces by a gin file."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.objective.advantages import Estimator, Grpo
from credit_zoo.objective.losses import Aggregation, Objective, SeqMeanTokenMean
from credit_zoo.objective.policy_losses import PolicyLoss, PpoClip, SelectingLoss
from credit_zoo.objective.ratios import Ratio, TokenRatio


@dataclass(frozen=True)
class Base:
    """The slots of the formula. `dynamic_sampling` keeps prompts whose answers earned unequal rewards (`informative`)
    and samples up to `max_resampling_rounds` further batches until the step is full; `overlong_filter` takes responses
    cut at the token limit out of the loss; the soft punishment begins `overlong_cache` tokens before it (0: none).
    """

    estimator: Estimator = field(default_factory=Grpo)  # of the advantage: a name, such as grpo, dr_grpo, rloo
    ratio: Ratio = field(default_factory=TokenRatio)  # of new to old policy: a name
    loss: PolicyLoss = field(default_factory=PpoClip)  # of a token: a name
    aggregation: Aggregation = field(default_factory=SeqMeanTokenMean)  # over tokens: a name
    kl_beta: float = 0.0  # weight of KL to the first policy; 0: none
    entropy_beta: float = 0.0  # weight of the entropy, which is paid for; below 0 it is charged for; 0: none
    perception_gamma: float = 0.0  # weight of PAPO's distance to the policy without the picture; 0: none
    dynamic_sampling: bool = False  # replace groups whose answers are all right or all wrong
    max_resampling_rounds: int = 3  # at most this often
    overlong_filter: bool = False  # leave responses cut at the limit out of the loss
    overlong_cache: int = 0  # tokens before the limit where the punishment begins; 0: none

    def __post_init__(self) -> None:
        check_range("base.kl_beta", self.kl_beta, 0)
        check_range("base.entropy_beta", self.entropy_beta, -1, 1)
        check_range("base.perception_gamma", self.perception_gamma, 0)
        check_range("base.max_resampling_rounds", self.max_resampling_rounds, 0)
        check_range("base.overlong_cache", self.overlong_cache, 0)

    def informative(self, reward: Float[Tensor, " G"], answer: Float[Tensor, " G"]) -> bool:
        """Whether dynamic sampling keeps a group of these rewards, `answer` the share of each that the answer earned.

        DAPO (arXiv:2503.14476, equation 11) asks that some but not all answers are right; form and length alone are no
        reason to learn from a prompt. The whole reward must differ too, or all advantages would be 0.
        """
        one, length = torch.zeros(len(reward), dtype=torch.int64), torch.ones(len(reward))
        return all(bool(self.estimator(values, one, length).any()) for values in (answer, reward))

    @property
    def objective(self) -> Objective:
        """The loss of this base."""
        weights = (self.kl_beta, self.entropy_beta, self.perception_gamma)
        return Objective(self.ratio, self.loss, self.aggregation, *weights)

    @property
    def measured(self) -> tuple[str, ...]:
        """The signals of the policy that the loss is computed from, whatever the rule."""
        return ("view_logp",) if self.perception_gamma > 0 else ()

    @property
    def selecting(self) -> SelectingLoss | None:
        """The policy loss, if it selects tokens over the whole step."""
        return self.loss if isinstance(self.loss, SelectingLoss) else None
