"""The zoo as a library: rules by name, token advantages from anybody's tensors, runs from code.

    import credit_zoo as cz
    cz.shapers()                                              # a table of rules with their facts
    rule = cz.shaper("pepo", alpha=0.1); rule.needs           # a rule, and the signals that it needs
    cz.shape(rule, advantage=A, mask=M, entropy=H, visual_similarity=VS)          # token advantages [B, T]
    cz.token_statistics(hidden, lm_head, ids, temperature)    # logp, entropy, collision; no matrix of logits
    with cz.listen(model, rule.needs, input_ids=ids, mask=M) as signals:          # hooks on any model of transformers
        model(input_ids=ids, ...)
    cz.run(shaper="pepo", bench="geometry3k", steps=3)        # a run, as its record

`import credit_zoo` imports nothing of this, and no torch, before the first use.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from credit_zoo.errors import UsageError, unknown
from credit_zoo.registry import SHAPERS

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor, nn

    from credit_zoo.objective import Shaper
    from credit_zoo.policy import TokenStatistics
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
    progress: Any = 1.0,
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
    a = _tensor("advantage", advantage).float()
    if a.ndim != 1:
        raise UsageError(f"advantage must be [B], one number a response, got {list(a.shape)}")
    if not bool(a.isfinite().all()):
        raise UsageError(f"advantage is not finite at row {int((~a.isfinite()).nonzero()[0])}")
    kept = _mask(_tensor("mask", mask, a), len(a))
    inputs = ShaperInputs(
        advantage=a,
        signals=TokenSignals(_signals(made, signals, kept)),
        mask=kept,
        group=_whole("group", torch.arange(len(a)) if group is None else group, a.shape, a),
        ids=_whole("ids", torch.zeros(kept.shape) if ids is None else ids, kept.shape, a),
        progress=_progress(progress),
        correct=_scores(correct, a),
    )
    return shaped(made, inputs) if kept.numel() else torch.zeros(kept.shape, device=a.device)


def _tensor(name: str, values: Any, beside: "Tensor | None" = None) -> "Tensor":
    """Any tensor, array or numbers in lists, without gradient, on the device of the one `beside`."""
    import torch

    try:
        found = torch.as_tensor(values, device=None if beside is None else beside.device).detach()
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f"{name} must be a tensor, an array or lists of numbers, got {values!r:.80}") from None
    if found.is_complex():
        raise UsageError(f"{name} must be of real numbers, got {found.dtype}")
    return found


def _progress(given: Any) -> float:
    try:
        found = float(given)
    except (TypeError, ValueError):
        found = -1.0
    if not 0 <= found <= 1:
        raise UsageError(f"progress must be in [0, 1], the share of training done, got {given!r}")
    return found


def _mask(mask: "Tensor", rows: int) -> "Tensor":
    if mask.ndim != 2 or len(mask) != rows:
        raise UsageError(f"mask must be [B, T] with B = {rows}, got {list(mask.shape)}")
    if not bool(((mask == 0) | (mask == 1)).all()):
        some = mask[(mask != 0) & (mask != 1)][:3].tolist()
        raise UsageError(f"mask must be bool, or numbers 0 and 1; got {mask.dtype} with {', '.join(map(str, some))}")
    return mask.bool()


def _whole(name: str, values: Any, shape: Any, beside: "Tensor") -> "Tensor":
    found = _tensor(name, values, beside)
    if found.shape != shape:
        raise UsageError(f"{name} must be {list(shape)} like the responses, got {list(found.shape)}")
    if found.is_floating_point() and not bool((found == found.round()).all()):
        raise UsageError(f"{name} must be whole numbers, got {found.dtype} with others")
    return found.long()


def _scores(given: Any, advantage: "Tensor") -> "Tensor":
    if given is None:
        return (advantage > 0).float()
    found = _tensor("correct", given, advantage).float()
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
        values = _tensor(name, given[name], mask).float()
        if values.shape != mask.shape:
            raise UsageError(f"{name} must be {list(mask.shape)} like the mask, got {list(values.shape)}")
        found[name] = torch.where(mask, values, 0.0)
        if not bool(found[name].isfinite().all()):
            row, token = (~found[name].isfinite()).nonzero()[0].tolist()
            raise UsageError(f"{name} is not finite at row {row}, token {token}, which the mask counts")
    return found


def token_statistics(
    hidden: "Tensor", lm_head: "nn.Module", ids: "Tensor", temperature: float = 1.0
) -> "TokenStatistics":
    """Log-probability (with gradient), entropy and collision probability (without) of `ids`, float32, in one pass over
    blocks of the vocabulary: the matrix of logits is never there.

    `hidden` `[*N, D]`: the states in front of the head, each the one that emitted the token beside it, one position
    before that token. `lm_head`: the linear layer. `ids` `[*N]`. `temperature`: of the sampling. `logp` and `entropy`
    in nats, `collision` = sum of squared probabilities in (0, 1]. Raises `UsageError` in a sentence for what does not
    fit.
    """
    from torch import nn

    from credit_zoo.policy import token_statistics as statistics

    if isinstance(lm_head, nn.Linear):
        width, tokens = lm_head.in_features, lm_head.out_features
        if hidden.shape != (*ids.shape, width):
            raise UsageError(f"hidden must be {[*ids.shape, width]}, a state for each token, got {list(hidden.shape)}")
        if hidden.dtype != lm_head.weight.dtype or hidden.device != lm_head.weight.device:
            raise UsageError(
                f"hidden is {hidden.dtype} on {hidden.device}, the head {lm_head.weight.dtype} on "
                f"{lm_head.weight.device}: bring the states to the head's"
            )
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < tokens:
            raise UsageError(f"ids must be in [0, {tokens}), got {int(ids.min())} to {int(ids.max())}")
    if not temperature > 0:
        raise UsageError(f"temperature must be above 0, got {temperature!r}")
    return statistics(hidden, lm_head, ids.long(), temperature)


def listen(
    model: "nn.Module",
    needs: Iterable[str],
    *,
    input_ids: "Tensor",
    mask: Any,
    temperature: float = 1.0,
    image_token: int | None = None,
) -> "AbstractContextManager[Mapping[str, Tensor]]":
    """A block inside which `model` is called, and after which the signals of `needs` are there, `[B, T]` by name.

    Hooks on any causal or vision-language model of transformers, gone when the block ends. `input_ids` `[B, S]`: what
    the model reads, with the T positions of the responses at the end; `mask` `[B, T]`: which of them were sampled;
    `temperature`: of the sampling; `image_token`: the token that stands for an image, unless the model's config names
    it. The model may read the rows in several calls, in their order, with or without gradient; signals have none.
    Raises `UsageError` for a signal that one pass cannot give, or what does not fit.
    """
    from credit_zoo.policy import hear

    return hear(model, needs, input_ids=input_ids, mask=mask, temperature=temperature, image_token=image_token)


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
