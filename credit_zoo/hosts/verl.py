"""Credit rules inside verl's V1 trainer: a registered trainer that spreads each response's advantage over its tokens.

    export VERL_USE_EXTERNAL_MODULES=credit_zoo.verl
    python -m verl.trainer.main_ppo trainer.v1.trainer_mode=credit_zoo +credit_zoo.shaper=entropy ...

verl computes advantages for the whole batch at one place, the driver, where the log-probabilities and entropies of the
policy that sampled have come together: any rule that reads these two, of any scope, is applied there and sees every
response of the step. Estimator, loss, clipping and average stay verl's.

What verl does not give is refused: hidden states stay in the workers' engines, which hand back these two alone, so that
there are no visual similarities; nor are there the other signals that take a pass of their own.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import UsageError
from credit_zoo.hosts.rule import HostRule, check_version
from credit_zoo.hosts.settings import rule_of
from credit_zoo.training import WeightSpread
from credit_zoo.types import ShaperInputs, TokenSignals

LOWEST, BELOW = (0, 9), (0, 10)
TRAINER = "credit_zoo"  # trainer.v1.trainer_mode
# Our name of what verl's batch holds, and verl's.
FIELDS = {"logp": "old_log_probs", "entropy": "entropy"}
# Losses of verl's under which the advantages of a response's tokens are averaged, or judged as one.
ERASING = {
    "geo_mean": "averages the advantages of a response's tokens first",
    "gspo": "has one ratio and one clip for a response, whose side the sign of a token's advantage decides",
    "bypass_mode": "has no pass of the old policy, so that there are no signals",
}
KEEPING = ("vanilla", "dppo_tv", "dppo_kl", "sapo", "gpg", "clip_cov", "kl_cov", "dro", "cispo")


def shape_fields(
    fields: Mapping[str, Tensor], uid: Any, rule: HostRule, progress: float
) -> tuple[Tensor, ShaperInputs]:
    """Token advantages `[B, T]` from a padded batch of verl's, and what the rule saw.

    `fields`: `advantages` `[B, T]`, the same number at every token of a response as outcome estimators give it,
    `response_mask` and `responses` `[B, T]`, and under verl's names what the rule needs. `uid` `[B]`: which responses
    answer the same prompt. Raises `UsageError` for a missing field or advantages that differ within a response.
    """
    missing = [FIELDS[name] for name in rule.facts.measured if FIELDS[name] not in fields]
    if missing:
        raise UsageError(
            f"shaper '{rule.name}' needs verl's {', '.join(missing)}, which this batch has not: they come from the "
            "pass of the old policy, which algorithm.rollout_correction.bypass_mode=True leaves out"
        )
    mask = fields["response_mask"].bool()
    spread = fields["advantages"].float()
    advantage = masked.mean(spread, mask)[:, 0]
    if bool(((spread - advantage[:, None]).abs() > 1e-4 * (1 + advantage[:, None].abs()))[mask].any()):
        raise UsageError(
            "the advantages differ within a response already: a rule spreads one advantage a response, so choose an "
            "outcome estimator (algorithm.adv_estimator=grpo, rloo, reinforce_plus_plus_baseline, ...), not gae"
        )
    x = ShaperInputs(
        advantage=advantage,
        signals=TokenSignals({name: masked.fill(fields[FIELDS[name]], mask) for name in rule.facts.measured}),
        mask=mask,
        group=torch.as_tensor(np.unique(np.asarray(uid, dtype=str), return_inverse=True)[1], device=mask.device),
        ids=fields["responses"].long(),
        progress=progress,
        correct=(advantage > 0).float(),
    )
    return rule(x).to(fields["advantages"].dtype), x


def weight_metrics(token_advantage: Tensor, x: ShaperInputs) -> dict[str, float]:
    """How far the rule departs from uniform, under verl's kind of names."""
    spread = WeightSpread.of(*WeightSpread.part(token_advantage, x))
    return {f"credit/weight_{name}": value for name, value in spread.numbers().items()}


def rule_from(config: Any) -> HostRule:
    """The rule that a run's configuration names: `+credit_zoo.shaper="pepo alpha=0.1"`, `+credit_zoo.schedule=linear`.
    Raises `UsageError` for one that is not there, or that verl cannot give what it needs.
    """
    ours = config.get("credit_zoo") or {}
    if not ours.get("shaper"):
        raise UsageError(
            "name the rule: +credit_zoo.shaper=entropy, or with settings '+credit_zoo.shaper=\"pepo alpha=0.1\"'"
        )
    rule = HostRule.of(rule_of(str(ours["shaper"])), ours.get("schedule", "none"), "verl", tuple(FIELDS))
    loss = config.actor_rollout_ref.actor.policy_loss.get("loss_mode", "vanilla")
    if loss not in KEEPING:
        why = ERASING.get(loss, "has not been tested with token advantages")
        raise UsageError(f"policy_loss.loss_mode={loss} {why}. Choose one of {', '.join(KEEPING)}.")
    return rule


class Shaping:
    """What stands in front of verl's synchronous trainer."""

    config: Any
    global_steps: int
    total_training_steps: int

    def __init__(self, config: Any) -> None:
        self.credit_rule = rule_from(config)
        super().__init__(config)  # type: ignore[call-arg]

    @property
    def trainer_mode(self) -> str:
        """What verl's code asks in many places to tell its trainers apart: this one is the synchronous trainer."""
        return "sync"

    @trainer_mode.setter
    def trainer_mode(self, configured: str) -> None:
        assert configured == TRAINER

    def _compute_advantage(self, batch: Any, metrics: MutableMapping[str, Any]) -> Any:
        import transfer_queue
        from tensordict import TensorDict
        from verl.workers.utils.padding import response_to_nested

        batch = super()._compute_advantage(batch, metrics)  # type: ignore[misc]
        needs = [FIELDS[name] for name in self.credit_rule.facts.measured]
        found = transfer_queue.kv_batch_get(
            keys=batch.keys,
            partition_id=batch.partition_id,
            select_fields=["uid", "advantages", "response_mask", "responses", *needs],
        )
        lengths, uid = found["response_mask"], found.pop("uid").tolist()
        progress = min(self.global_steps / max(self.total_training_steps, 1), 1.0)
        shaped, x = shape_fields(found.to_padded_tensor(), uid, self.credit_rule, progress)
        metrics.update(weight_metrics(shaped, x))
        fields = TensorDict({"advantages": response_to_nested(shaped, lengths)}, batch_size=len(batch))
        return transfer_queue.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)


def register_verl_trainer() -> type:
    """Enters the trainer under `credit_zoo` into verl's registry and returns it. Raises `UsageError` for a version of
    verl that is not supported.
    """
    check_version("verl", LOWEST, BELOW)
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, register_trainer
    from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

    if TRAINER in TRAINER_REGISTRY:
        return TRAINER_REGISTRY[TRAINER]
    made: type = register_trainer(TRAINER)(type("ShapedPPOTrainerSync", (Shaping, PPOTrainerSync), {}))
    return made
