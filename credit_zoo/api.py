"""The zoo as a library: rules by name, token advantages from anybody's tensors, runs from code.

    import credit_zoo as cz
    cz.shapers()                                              # a table of rules with their facts
    rule = cz.shaper("pepo", alpha=0.1); rule.needs           # a rule, and the signals that it needs
    cz.shape(rule, advantage=A, mask=M, entropy=H, visual_similarity=VS)          # token advantages [B, T]
    cz.run(shaper="pepo", bench="geometry3k", steps=3)        # a run, as its record

`import credit_zoo` imports nothing of this, and no torch, before the first use.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from credit_zoo.errors import UsageError, unknown
from credit_zoo.registry import SHAPERS

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from credit_zoo.objective import Shaper
    from credit_zoo.results import RunRecord


def shaper(name: str, **settings: Any) -> "Shaper":
    """The rule of a name with these settings; `.needs` names the signals that it must be handed.

    Raises `UsageError` for a name or a setting that is not there, or a value out of range.
    """
    entry = SHAPERS[name]
    known = {one.name: one for one in fields(entry.factory)}
    for setting in settings:
        if setting not in known:
            raise unknown(f"setting of '{name}'", setting, known) if known else UsageError(f"'{name}' has no settings")
    missing = [one for one, field in known.items() if field.default is MISSING and field.default_factory is MISSING]
    if set(missing) - settings.keys():
        raise UsageError(f"shaper '{name}' wants a value for {', '.join(missing)}")
    made: Shaper = entry.factory(**settings)
    return made


def shape(
    rule: "str | Shaper",
    *,
    advantage: Any,
    mask: Any,
    group: Any = None,
    ids: Any = None,
    correct: Any = None,
    progress: float = 1.0,
    **signals: Any,
) -> 'Float[Tensor, "B T"]':
    """Token advantages by a rule, float32 `[B, T]` on the advantage's device, 0 outside the mask, without gradient.

    `advantage` `[B]`, any float dtype: what the estimator gives each response. `mask` `[B, T]`, bool or 0 and 1: true
    for the tokens that the policy sampled; it need not be a prefix. `signals`: those of `rule.needs`, `[B, T]`, any
    float dtype, by their names in `credit_zoo.types.SIGNALS`; others are not shown to the rule. `group` `[B]`: the
    number of the prompt that a response answers; `ids` `[B, T]`: the sampled tokens; both may be left out where the
    rule does not read them. `correct` `[B]` in [0, 1]: the score of each response; without it, 1 where the advantage is
    above 0. `progress` in [0, 1]: the share of training done. Values outside the mask are never read.

    Raises `UsageError` in a sentence for shapes that do not fit, a mask of other numbers, a missing or unknown signal,
    or a signal that is not finite; `ContractError` if the rule returns something that a loss must not see.
    """
    import torch

    from credit_zoo.objective import shape as shaped
    from credit_zoo.types import ShaperInputs, TokenSignals

    made = shaper(rule) if isinstance(rule, str) else rule
    a = torch.as_tensor(advantage).detach().float()
    kept = _mask(torch.as_tensor(mask, device=a.device), len(a) if a.ndim == 1 else None)
    if a.ndim != 1:
        raise UsageError(f"advantage must be [B], one number a response, got {list(a.shape)}")
    inputs = ShaperInputs(
        advantage=a,
        signals=TokenSignals(_signals(made, signals, kept)),
        mask=kept,
        group=_whole("group", torch.arange(len(a)) if group is None else group, a.shape, a),
        ids=_whole("ids", torch.zeros(kept.shape) if ids is None else ids, kept.shape, a),
        progress=float(progress),
        correct=_scores(correct, a),
    )
    if not 0 <= inputs.progress <= 1:
        raise UsageError(f"progress must be in [0, 1], the share of training done, got {progress!r}")
    return shaped(made, inputs)


def _mask(mask: "Tensor", rows: int | None) -> "Tensor":
    if mask.ndim != 2 or (rows is not None and len(mask) != rows):
        raise UsageError(f"mask must be [B, T] with B = {rows}, got {list(mask.shape)}")
    if not bool(((mask == 0) | (mask == 1)).all()):
        some = mask[(mask != 0) & (mask != 1)][:3].tolist()
        raise UsageError(f"mask must be bool, or numbers 0 and 1; got {mask.dtype} with {', '.join(map(str, some))}")
    return mask.bool()


def _whole(name: str, values: Any, shape: Any, beside: "Tensor") -> "Tensor":
    import torch

    found = torch.as_tensor(values, device=beside.device)
    if found.shape != shape:
        raise UsageError(f"{name} must be {list(shape)} like the responses, got {list(found.shape)}")
    return found.long()


def _scores(given: Any, advantage: "Tensor") -> "Tensor":
    import torch

    if given is None:
        return (advantage > 0).float()
    found = torch.as_tensor(given, device=advantage.device).detach().float()
    if found.shape != advantage.shape or not bool(((found >= 0) & (found <= 1)).all()):
        raise UsageError(f"correct must be {list(advantage.shape)} like advantage, scores in [0, 1], got {given!r:.80}")
    return found


def _signals(rule: "Shaper", given: Mapping[str, Any], mask: "Tensor") -> "dict[str, Tensor]":
    """The declared signals in float32, 0 outside the mask."""
    import torch

    from credit_zoo.types import SIGNALS

    entry = SHAPERS.of(rule)
    for name in given:
        if name not in SIGNALS:
            raise unknown("signal", name, SIGNALS)
    missing = [name for name in entry.facts.needs if name not in given]
    if missing:
        said = "; ".join(f"{name}: {SIGNALS[name]}" for name in missing)
        raise UsageError(f"shaper '{entry.name}' needs the signals {', '.join(missing)} ({said})")
    found = {}
    for name in entry.facts.needs:
        values = torch.as_tensor(given[name], device=mask.device).detach().float()
        if values.shape != mask.shape:
            raise UsageError(f"{name} must be {list(mask.shape)} like the mask, got {list(values.shape)}")
        found[name] = torch.where(mask, values, 0.0)
        if not bool(found[name].isfinite().all()):
            row, token = (~found[name].isfinite()).nonzero()[0].tolist()
            raise UsageError(f"{name} is not finite at row {row}, token {token}, which the mask counts")
    return found


def run(*arguments: str, **named: Any) -> "list[RunRecord]":
    """Runs what `python -m credit_zoo.run` would, and returns the records, one a seed.

    Words as they are typed, in one text or several, or as keywords: `run("shaper=pepo bench=geometry3k")`,
    `run(shaper="pepo", steps=3, **{"pepo.alpha": 0.1})`. Raises `UsageError` for words that cannot be used and
    `RuntimeError` for a run that broke or was stopped.
    """
    from pathlib import Path

    from credit_zoo.cli import parse
    from credit_zoo.experiment import publish, resolve, run_experiment
    from credit_zoo.results import load

    words = [word for text in arguments for word in text.split()]
    words += [f"{name}={_word(value)}" for name, value in named.items()]
    command = parse(words)
    config, records = resolve(command), []
    for seed in command.seeds:
        outcome = run_experiment(command, config, seed)
        if outcome.status:
            raise RuntimeError(f"the run of seed {seed} ended with status {outcome.status}; what it said is on stderr")
        records += [load(outcome.record)] if outcome.record else []
    publish(Path(command.results))
    return records


def _word(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_word, value))
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
