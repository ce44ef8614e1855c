"""Credit rules inside ms-swift's GRPO: a trainer that the plugin file enters into ms-swift's factory.

    CREDIT_ZOO_SHAPER='pepo alpha=0.1' swift rlhf --rlhf_type grpo --external_plugins .../credit_zoo/ms_swift.py ...

ms-swift makes a pass of the old policy over every batch of samples: signals are taken there, so that weights are those
of the policy that sampled. It keeps the last `logits_to_keep` positions of its rows, in which the prompt's end may
stand and responses are no prefix; no rule assumes one. Rewards, advantages, loss and average stay ms-swift's.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import UsageError
from credit_zoo.hosts.rule import HostRule, check_version
from credit_zoo.hosts.settings import rule_of
from credit_zoo.policy import HEARD, hear
from credit_zoo.training import WeightSpread, over_all_processes
from credit_zoo.types import ShaperInputs, TokenSignals

LOWEST, BELOW = (4, 6), (4, 7)
SHAPER, SCHEDULE = "CREDIT_ZOO_SHAPER", "CREDIT_ZOO_SCHEDULE"
LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo")
THEIRS = ("logp", "entropy")


def rule_from(environment: Mapping[str, str]) -> HostRule:
    """The rule that the environment names, since ms-swift refuses arguments that it does not know."""
    if not environment.get(SHAPER):
        raise UsageError(f"name the rule in the environment: {SHAPER}=pepo, or with settings {SHAPER}='pepo alpha=0.1'")
    schedule: Any = environment.get(SCHEDULE, "none")
    return HostRule.of(rule_of(environment[SHAPER]), schedule, "ms-swift", HEARD)


def refuse_erasing_options(args: Any, template: Any, rule: HostRule) -> None:
    """Raises `UsageError` for a setting under which a token's advantage is lost, or signals cannot be measured."""
    if args.loss_type not in LOSSES:
        raise UsageError(
            f"loss_type={args.loss_type} does not multiply each token's own advantage, or has not been tested with it. "
            f"Choose one of {', '.join(LOSSES)}."
        )
    erased = "the advantages of a response's tokens are summed or averaged first"
    refused = {
        "importance_sampling_level=sequence": (
            args.importance_sampling_level == "sequence",
            f"{erased}: choose token or sequence_token",
        ),
        "use_liger_kernel=true": (args.use_liger_kernel, erased),
        "padding_free=true": (template.padding_free, "rows are packed into one, which cannot be listened to"),
        "sequence_parallel_size>1": (template.sequence_parallel_size > 1, "rows are split over processes"),
        "dynamic_sample with several turns": (getattr(args, "multi_turn_scheduler", None), "rows are cut anew"),
        "advantage_reweight": (getattr(args, "advantage_reweight", None), "it weighs tokens itself"),
        "off_policy_sequence_mask_delta": (
            args.off_policy_sequence_mask_delta is not None and not rule.facts.preserves_sign,
            f"it goes by the sign of a response's advantage, which shaper '{rule.name}' may turn",
        ),
    }
    for setting, (is_set, why) in refused.items():
        if is_set:
            raise UsageError(f"{setting} is not supported with a credit rule: {why}")


class Shaping:
    """What stands in front of ms-swift's `GRPOTrainer`."""

    args: Any
    model: Any
    template: Any
    state: Any
    accelerator: Any
    temperature: float
    _metrics: Any
    credit_signals: "dict[int, dict[str, Tensor]] | None" = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.credit_rule = rule_from(os.environ)
        super().__init__(*args, **kwargs)
        refuse_erasing_options(self.args, self.template, self.credit_rule)

    def _get_per_token_logps_and_entropies(
        self, model: Any, model_inputs: Mapping[str, Any], grpo_batch: Any, compute_entropy: bool = False, **rest: Any
    ) -> Any:
        theirs = super()._get_per_token_logps_and_entropies  # type: ignore[misc]
        # Of each batch the first pass is the old policy's; reference and teacher follow.
        if self.credit_signals is None or id(grpo_batch) in self.credit_signals:
            return theirs(model, model_inputs, grpo_batch, compute_entropy=compute_entropy, **rest)
        needs = self.credit_rule.facts.measured
        ours = [name for name in needs if name not in THEIRS]
        ids, mask = model_inputs["input_ids"], grpo_batch.completion_mask
        with hear(model, ours, input_ids=ids, mask=mask, temperature=self.temperature) as heard:
            found = theirs(model, model_inputs, grpo_batch, compute_entropy="entropy" in needs, **rest)
        measured = {name: found[THEIRS.index(name)] for name in needs if name in THEIRS}
        self.credit_signals[id(grpo_batch)] = {**heard, **measured}
        return found

    def _prepare_batch_inputs(self, samples: Any) -> Any:
        self.credit_signals = {}
        return super()._prepare_batch_inputs(samples)  # type: ignore[misc]

    def _postprocess_batch(self, samples: Sequence[Any], batch_encoded_inputs: Sequence[Mapping[str, Any]]) -> None:
        super()._postprocess_batch(samples, batch_encoded_inputs)  # type: ignore[misc]
        signals, self.credit_signals = self.credit_signals or {}, None
        parts, first = [], 0
        for batch in batch_encoded_inputs:
            part = samples[first : first + len(batch["grpo_batch"].completion_mask)]
            parts.append(self._inputs(part, batch, signals[id(batch["grpo_batch"])]))
            first += len(part)
        x = joined(parts)
        rule = self.credit_rule
        found = rule(x) if rule.facts.scope == "response" else over_all_processes(self.accelerator, x, rule)
        for batch, own in zip(batch_encoded_inputs, found.split([len(part.mask) for part in parts]), strict=True):
            theirs = batch["grpo_batch"].advantages
            batch["grpo_batch"].advantages = own[:, : theirs.shape[1]].to(theirs.dtype)
        self._note(found, x)

    def _inputs(self, samples: Sequence[Any], batch: Mapping[str, Any], signals: Mapping[str, Tensor]) -> ShaperInputs:
        """What the rule may look at of one batch of ms-swift's."""
        theirs = batch["grpo_batch"]
        mask, device = theirs.completion_mask.bool(), theirs.completion_mask.device
        advantage = torch.stack([torch.as_tensor(one.advantages) for one in samples]).to(device).float()
        return ShaperInputs(
            advantage=advantage,
            signals=TokenSignals({name: masked.fill(values.detach(), mask) for name, values in signals.items()}),
            mask=mask,
            group=torch.tensor([prompt_number(one.prompt_id) for one in samples], device=device),
            ids=batch["model_inputs"]["input_ids"][:, -mask.shape[1] :],
            progress=min(self.state.global_step / max(self.state.max_steps, 1), 1.0),
            correct=(advantage > 0).float(),
        )

    def _note(self, token_advantage: Tensor, x: ShaperInputs) -> None:
        """How far the rule departs from uniform, over all processes, into ms-swift's log."""
        gather, pad = self.accelerator.gather, self.accelerator.pad_across_processes
        spread = WeightSpread.of(*(gather(pad(values, dim=1)) for values in WeightSpread.part(token_advantage, x)))
        mode = "train" if self.model.training else "eval"
        for name, value in spread.numbers().items():
            self._metrics[mode][f"credit/weight_{name}"].append(value)


def prompt_number(prompt_id: str) -> int:
    """A number for a prompt's id that is the same on every process."""
    return int.from_bytes(hashlib.blake2b(prompt_id.encode(), digest_size=7).digest(), "big")


def joined(parts: Sequence[ShaperInputs]) -> ShaperInputs:
    """Several batches as one, their rows padded to one length at the end."""
    width = max(part.mask.shape[1] for part in parts)

    def rows(values: Sequence[Tensor]) -> Tensor:
        return torch.cat([torch.nn.functional.pad(one, (0, width - one.shape[1])) for one in values])

    names = list(parts[0].signals)
    return ShaperInputs(
        advantage=torch.cat([part.advantage for part in parts]),
        signals=TokenSignals({name: rows([part.signals.values[name] for part in parts]) for name in names}),
        mask=rows([part.mask for part in parts]),
        group=torch.cat([part.group for part in parts]),
        ids=rows([part.ids for part in parts]),
        progress=parts[0].progress,
        correct=torch.cat([part.correct for part in parts]),
    )


def register_ms_swift_trainer() -> type:
    """Makes the trainer and puts its name where ms-swift's factory looks for the one of `--rlhf_type grpo`. Raises
    `UsageError` for a version of ms-swift that is not supported.
    """
    check_version("ms-swift", LOWEST, BELOW)
    from swift.rlhf_trainers import GRPOTrainer
    from swift.trainers import TrainerFactory

    made = type("ShapedGRPOTrainer", (Shaping, GRPOTrainer), {})
    TrainerFactory.TRAINER_MAPPING["grpo"] = "credit_zoo.ms_swift.ShapedGRPOTrainer"
    return made
