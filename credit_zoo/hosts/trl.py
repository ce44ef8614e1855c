"""Credit rules inside TRL's `GRPOTrainer`, and inside any trainer that is derived from it.

    from trl import GRPOConfig, GRPOTrainer
    from credit_zoo.trl import Shaped
    Shaped(GRPOTrainer)(model, reward, GRPOConfig(...), train_dataset=..., shaper="pepo").train()

TRL's loss takes token advantages `[B, T]` where a subclass hands them over; rewards, baselines, ratio, clipping and
average stay TRL's. Signals are those of the policy that sampled, as in the zoo's own loop. They come from

- the forward pass of the loss, where TRL makes one update on its samples and the rule looks at one response at a time:
  the policy is then still the one that sampled, and nothing is computed twice;
- TRL's pass for the old log-probabilities, where it makes one (several updates, or the correction for vLLM);
- one pass of our own without gradient, where a rule looks at several responses and TRL makes no such pass. It is told
  once, as a warning.

Log-probability and entropy are TRL's own; visual similarity is of the prompt's images. Nothing of TRL or of the model
is replaced: the class is made by inheritance, and hooks are gone when a pass ends.
"""

import inspect
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import UsageError, unknown
from credit_zoo.facts import UPDATE_SIGNAL
from credit_zoo.hosts.rule import HostRule, check_version
from credit_zoo.hosts.trl_options import refuse_erasing_options
from credit_zoo.objective import Shaper
from credit_zoo.policy import FIRST_LAYER, HEARD, hear, image_token_of
from credit_zoo.training import WeightSpread, over_all_processes
from credit_zoo.types import ShaperInputs, TokenSignals

LOWEST, BELOW = (1, 8), (1, 17)
GIVEN = (*HEARD, UPDATE_SIGNAL)
# What TRL measures itself in a pass.
THEIRS = ("logp", "entropy")
# In these a trainer of TRL's that is derived from GRPOTrainer may take one advantage a response, or exchange responses.
OVERRIDDEN = {"_compute_loss", "_generate_and_score_completions"}
KEY = "credit_zoo_"  # before what is put into TRL's batch, which is shuffled and split with it

_log = logging.getLogger(__name__)


def Shaped(trainer: type) -> type:  # noqa: N802  (it is written where a class is)
    """The trainer's class with three more arguments, all by name:

    `shaper`: a rule's name, or a rule with settings (`cz.shaper("pepo", alpha=0.1)`); "uniform" is TRL alone.
    `shaper_schedule`: "linear" blends from uniform to the rule over training, as PEPO's paper has it; "none" does not.
    `correct`: the name of the reward function whose values in [0, 1] say whether a response is right, for rules that
    look at that; without it a response with an advantage above 0 counts as right.

    Raises `UsageError` for a version of TRL that is not supported, a class that is no `GRPOTrainer`, a rule whose
    signals TRL cannot give, and settings under which credit of tokens is lost.
    """
    check_version("trl", LOWEST, BELOW)
    from trl import GRPOTrainer

    if not (isinstance(trainer, type) and issubclass(trainer, GRPOTrainer)):
        raise UsageError(f"Shaped takes trl.GRPOTrainer or a class derived from it, got {trainer!r}")
    for one in trainer.__mro__[: trainer.__mro__.index(GRPOTrainer)]:
        own = sorted(OVERRIDDEN & vars(one).keys())
        if own and one.__module__.startswith("trl."):
            raise UsageError(
                f"{one.__name__} of TRL has its own {', '.join(own)}, with which credit of tokens is lost or was never "
                "tested. Use trl.GRPOTrainer, or a class of yours that is derived from it."
            )
    return _shaped(trainer)


@cache
def _shaped(trainer: type) -> type:
    return trainer if issubclass(trainer, Shaping) else type(f"Shaped{trainer.__name__}", (Shaping, trainer), {})


def _config_class() -> type:
    from trl import GRPOConfig

    found: type = GRPOConfig
    return found


def _pass_inputs() -> Collection[str]:
    """What TRL's pass takes of its batch, such as pixels; a derived trainer need not name them."""
    from trl import GRPOTrainer

    return inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters.keys()


@dataclass(frozen=True, eq=False)
class Pass:
    """What a forward pass of TRL's over responses `[B, T]` measured."""

    logp: Tensor
    signals: Mapping[str, Tensor]


class Shaping:
    """What stands in front of `GRPOTrainer`."""

    # Of TRL, whose classes are known when it is installed only.
    args: Any
    state: Any
    model: Any
    ref_model: Any
    accelerator: Any
    temperature: float
    reward_func_names: list[str]
    _metrics: Any

    def __init__(
        self,
        *args: Any,
        shaper: "str | Shaper" = "uniform",
        shaper_schedule: str = "none",
        correct: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.credit_rule = HostRule.of(shaper, shaper_schedule, "TRL", GIVEN)
        self._correct = correct
        self._scores: Tensor | None = None
        self._passes: list[Pass] | None = None  # collected while it is a list
        self._during_pass: Callable[[Pass], None] | None = None
        self._told = False
        for config in (*args, *kwargs.values()):
            if isinstance(config, _config_class()):  # before a model is loaded
                refuse_erasing_options(config, self.credit_rule)
        super().__init__(*args, **kwargs)
        refuse_erasing_options(self.args, self.credit_rule)
        if set(self.credit_rule.facts.needs) & set(FIRST_LAYER):
            image_token_of(self.accelerator.unwrap_model(self.model))
        if correct is not None and correct not in self.reward_func_names:
            raise unknown("reward function", correct, self.reward_func_names)

    # --- what TRL calls ----------------------------------------------------------------------------------------------

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        rewards: Tensor = super()._calculate_rewards(*args, **kwargs)  # type: ignore[misc]
        if self._correct is not None:
            self._scores = rewards[:, self.reward_func_names.index(self._correct)]
        return rewards

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        theirs = super()._get_per_token_logps_and_entropies  # type: ignore[misc]
        if self._passes is None or (self.ref_model is not None and model is self.ref_model):
            return theirs(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)
        needs = self.credit_rule.facts.measured
        if "entropy" in needs:
            kwargs["compute_entropy"] = True
        ours = [name for name in needs if name not in THEIRS]
        read = attention_mask[:, attention_mask.shape[1] - logits_to_keep :]
        with hear(model, ours, input_ids=input_ids, mask=read, temperature=self.temperature) as heard:
            found = theirs(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)
        measured = {name: found[THEIRS.index(name)].detach() for name in needs if name in THEIRS}
        self._passes.append(Pass(found[0], {**heard, **measured}))
        if self._during_pass is not None:
            self._during_pass(self._passes[-1])
        return found

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        self._passes = []
        try:
            batch: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
            return self._with_credit(batch, self._passes)
        finally:
            self._passes = None

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> Tensor:
        batch = dict(inputs)  # TRL reads its buffered batches again in the next update
        if batch["advantages"].ndim == 1:
            # TRL reads the advantages after its forward pass, which gives what they are made from.
            self._passes, self._during_pass = [], lambda done: self._shape_during(batch, done)
        try:
            loss: Tensor = super()._compute_loss(model, batch)  # type: ignore[misc]
            return loss
        finally:
            self._passes, self._during_pass = None, None

    # --- credit ------------------------------------------------------------------------------------------------------

    def _with_credit(self, batch: dict[str, Any], passes: list[Pass]) -> dict[str, Any]:
        """The samples with token advantages, or with what is needed to find these at the loss."""
        facts, old = self.credit_rule.facts, batch.get("old_per_token_logps")
        found = next((one for one in passes if one.logp is old), None)
        if found is None and facts.measured and facts.scope != "response":
            found = self._own_pass(batch)
        size = self.num_generations if self._mode == "train" else self.num_generations_eval  # type: ignore[attr-defined]
        first = self.accelerator.process_index * len(batch["advantages"])
        rows = first + torch.arange(len(batch["advantages"]), device=batch["advantages"].device)
        batch[f"{KEY}group"] = rows // size
        right = (batch["advantages"] > 0).float() if self._scores is None else self._scores[rows].nan_to_num(0.0)
        batch[f"{KEY}correct"] = right.clamp(0, 1)
        if facts.stage == "update":
            batch |= {f"{KEY}{name}": values for name, values in (found.signals if found else {}).items()}
        elif found is not None or not facts.measured:
            self._shape(batch, found.signals if found else {})
        return batch

    def _own_pass(self, batch: Mapping[str, Any]) -> Pass:
        """A pass without gradient over all samples of this process."""
        if not self._told:
            _log.warning(
                "shaper '%s' looks at several responses at once: its signals are measured in one more forward pass, "
                "without gradient, over the samples of a step",
                self.credit_rule.name,
            )
            self._told = True
        assert self._passes is not None
        takes = _pass_inputs()
        at_once = "per_device_train_batch_size" if self._mode == "train" else "per_device_eval_batch_size"
        with torch.no_grad():
            self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
                torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1),
                batch["completion_ids"].shape[1],
                batch_size=getattr(self.args, at_once),
                **{name: value for name, value in batch.items() if name in takes},
            )
        return self._passes[-1]

    def _shape_during(self, batch: dict[str, Any], done: Pass) -> None:
        """Token advantages from the pass of the loss, or from what was measured before it."""
        if not bool(done.logp[self._mask(batch)].isfinite().all()):
            return  # a policy that broke must not reach the rule, whose checks would blame it; the loss will tell
        facts = self.credit_rule.facts
        signals = {name: batch.get(f"{KEY}{name}", done.signals[name]) for name in facts.measured}
        if facts.stage == "update":
            old = batch.get("old_per_token_logps")
            signals[UPDATE_SIGNAL] = torch.zeros_like(done.logp) if old is None else done.logp.detach() - old
        self._shape(batch, signals)

    def _shape(self, batch: dict[str, Any], signals: Mapping[str, Tensor]) -> None:
        """Puts token advantages `[B, T]` in the place of the advantages `[B]`, and notes their spread."""
        mask, rule = self._mask(batch), self.credit_rule
        x = ShaperInputs(
            advantage=batch["advantages"].float(),
            signals=TokenSignals({name: masked.fill(values.detach(), mask) for name, values in signals.items()}),
            mask=mask,
            group=batch[f"{KEY}group"],
            ids=batch["completion_ids"],
            progress=min(self.state.global_step / max(self.state.max_steps, 1), 1.0),
            correct=batch[f"{KEY}correct"],
        )
        found = rule(x) if rule.facts.scope == "response" else over_all_processes(self.accelerator, x, rule)
        batch["advantages"] = found.to(batch["advantages"].dtype)
        self._note(found, x)

    def _note(self, token_advantage: Tensor, x: ShaperInputs) -> None:
        """How far the rule departs from uniform, over all processes, into TRL's log."""
        gather, pad = self.accelerator.gather, self.accelerator.pad_across_processes
        spread = WeightSpread.of(*(gather(pad(values, dim=1)) for values in WeightSpread.part(token_advantage, x)))
        for name, value in spread.numbers().items():
            self._metrics[self._mode][f"credit/weight_{name}"].append(value)

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    @staticmethod
    def _mask(batch: Mapping[str, Any]) -> Tensor:
        """Which tokens the policy sampled."""
        return (batch["completion_mask"] * batch.get("tool_mask", 1)).bool()
