"""Which settings of TRL's `GRPOConfig` keep credit that differs from token to token."""

from typing import Any

from credit_zoo.errors import UsageError
from credit_zoo.hosts.rule import HostRule

# What they multiply is each token's own advantage, and they sum over tokens.
LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo")
ERASING = {
    "luspo": "weighs whole responses by their length and is made for ratios of sequences",
}


def refuse_erasing_options(config: Any, rule: HostRule) -> None:
    """Raises `UsageError` for a setting under which a token's advantage is lost or means something else."""
    if config.loss_type not in LOSSES:
        why = ERASING.get(config.loss_type, "has not been tested with token advantages")
        raise UsageError(f"loss_type='{config.loss_type}' {why}. Choose one of {', '.join(LOSSES)}.")
    if config.importance_sampling_level == "sequence":
        raise UsageError(
            "importance_sampling_level='sequence' gives all tokens of a response one ratio, so that only the sum of "
            "their advantages reaches the gradient: every rule that keeps the mean would equal uniform. "
            "Set importance_sampling_level='token'."
        )
    if config.importance_sampling_level != "token":
        raise UsageError(
            f"importance_sampling_level='{config.importance_sampling_level}' has not been tested with token "
            "advantages. Set importance_sampling_level='token'."
        )
    if getattr(config, "use_liger_kernel", False):
        raise UsageError(
            "use_liger_kernel=True is not supported: Liger's fused loss takes one advantage a response and gives no "
            "entropy, and its layers replace those that are listened to. Set use_liger_kernel=False."
        )
    turns = not rule.facts.preserves_sign
    if turns and getattr(config, "off_policy_mask_threshold", None) is not None:
        raise UsageError(
            f"off_policy_mask_threshold drops responses by the sign of their advantage, which shaper '{rule.name}' may "
            "turn at single tokens. Leave it None, or choose a shaper that keeps the sign."
        )
    if turns and config.loss_type == "vespo":
        raise UsageError(
            f"loss_type='vespo' weighs a response by the sign of its advantage, which shaper '{rule.name}' may turn at "
            "single tokens. Choose another loss_type, or a shaper that keeps the sign."
        )
