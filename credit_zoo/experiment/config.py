"""A command to an experiment, by way of gin.

The files of the axes are parsed after `configs/default.gin`, the typed settings last. gin is imported here and in
`registry` alone. Nothing here imports torch until an experiment is resolved.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gin

from credit_zoo.cli import Command, coerce, gin_files, trained_bench
from credit_zoo.question import SPLITS
from credit_zoo.registry import (
    AGGREGATIONS,
    BENCHMARKS,
    CONFIGS,
    ESTIMATORS,
    LOSSES,
    RATIOS,
    SHAPERS,
    Registry,
    UsageError,
    unknown,
)

if TYPE_CHECKING:
    from credit_zoo.evaluation import EvalConfig
    from credit_zoo.objective import Base, Reward, Shaper
    from credit_zoo.policy import ModelConfig
    from credit_zoo.questions import Benchmark, DataConfig, PromptConfig
    from credit_zoo.rollout import RolloutConfig, SamplingParams
    from credit_zoo.training import CheckpointConfig, ParallelConfig, TrainConfig

# The slots of a base and where their pieces are registered.
PIECES: Mapping[str, Registry[Any]] = {
    "estimator": ESTIMATORS, "ratio": RATIOS, "loss": LOSSES, "aggregation": AGGREGATIONS
}  # fmt: skip
TRAINING_GROUPS = ("train", "base", "reward", "sampling", "parallel", "checkpoint")


@dataclass(frozen=True)
class ExperimentConfig:
    """Everything a run needs, as settings: what the words resolve to."""

    shaper: "Shaper"
    base: "Base"
    train: "TrainConfig"
    sampling: "SamplingParams"
    eval: "EvalConfig"
    model: "ModelConfig"
    prompt: "PromptConfig"
    reward: "Reward"
    data: "DataConfig"
    parallel: "ParallelConfig"
    checkpoint: "CheckpointConfig"
    rollout: "RolloutConfig"
    gin_text: str = field(default="", compare=False)


@cache
def setting_groups() -> Mapping[str, type]:
    """The groups of settings by the word that a user types; registers them with gin on first use."""
    from credit_zoo.evaluation import EvalConfig
    from credit_zoo.objective import Base, Reward
    from credit_zoo.policy import ModelConfig
    from credit_zoo.questions import DataConfig, PromptConfig
    from credit_zoo.rollout import RolloutConfig, SamplingParams
    from credit_zoo.training import CheckpointConfig, ParallelConfig, TrainConfig

    found: dict[str, type] = {
        "base": Base,
        "train": TrainConfig,
        "sampling": SamplingParams,
        "eval": EvalConfig,
        "model": ModelConfig,
        "prompt": PromptConfig,
        "reward": Reward,
        "data": DataConfig,
        "parallel": ParallelConfig,
        "checkpoint": CheckpointConfig,
        "rollout": RolloutConfig,
        "experiment": ExperimentConfig,
    }
    for name, cls in found.items():
        gin.register(name)(cls)
    return found


def resolve(command: Command) -> ExperimentConfig:
    """Parses the files and the typed settings; refuses what is unknown, out of range, or used by nothing."""
    setting_groups()
    trained_bench(command)
    shaper = SHAPERS[command.shaper]
    # The budget first: what a model needs of it (responses scored at once) overrides it.
    files = [CONFIGS / "default.gin", *(gin_files(axis)[getattr(command, axis)] for axis in ("scale", "model", "base"))]
    files += [axis[name] for axis, name in _optional(command) if name in axis]
    gin.clear_config()
    chosen = f"experiment.shaper = @shaper.{shaper.name}()"
    try:
        gin.parse_config_files_and_bindings(
            [str(file) for file in files],
            [chosen, *_bindings(command)],
            finalize_config=False,
            print_includes_and_imports=False,
        )
        experiment: ExperimentConfig = gin.get_configurable("experiment")()
    except UsageError as error:
        raise UsageError(str(error).split("\n  In call to configurable")[0]) from None
    _refuse_unused(command, experiment)
    _refuse_unfit(command, experiment)
    for name in {thing for thing, _, _ in command.settings if thing in BENCHMARKS}:
        benchmark(command, name)
    # gin leaves out what has no literal of its own, and does not make the benchmarks.
    more = [f"{binding}\n" for binding in _bindings(command) if binding.endswith("1e999")]
    more += [f"{thing}.{key} = {text!r}\n" for thing, key, text in command.settings if thing in BENCHMARKS]
    return dataclasses.replace(experiment, gin_text="".join([gin.operative_config_str(), *more]))


def _optional(command: Command) -> Iterator[tuple[dict[str, Path], str]]:
    yield gin_files("bench"), command.bench[0]
    yield gin_files("shaper"), command.shaper


def _bindings(command: Command) -> Iterator[str]:
    """Typed settings as gin bindings, quoted as their types ask for."""
    for thing, key, text in command.settings:
        if thing in BENCHMARKS:
            continue
        if thing == "base" and key in PIECES:
            yield f"base.{key} = @{PIECES[key].kind}.{PIECES[key][text].name}()"
        else:
            value = coerce(_class_of(thing), thing, key, text)
            infinite = isinstance(value, float) and math.isinf(value)
            yield f"{thing}.{key} = {math.copysign(1, value):.0f}e999" if infinite else f"{thing}.{key} = {value!r}"


def benchmark(command: Command, name: str) -> "Benchmark":
    """A benchmark with the settings that were typed for it, `mathvista.drop_geometry3k=true`."""
    factory = BENCHMARKS[name].factory
    typed = {key: coerce(factory, name, key, text) for thing, key, text in command.settings if thing == name}
    made: Benchmark = factory(**typed)
    return made


def _class_of(thing: str) -> type:
    if thing in setting_groups() and thing != "experiment":
        return setting_groups()[thing]
    for registry in (SHAPERS, *PIECES.values()):
        if thing in registry:
            return registry[thing].factory
    pieces = [name for registry in PIECES.values() for name in registry]
    known = [*(t for t in setting_groups() if t != "experiment"), *SHAPERS, *pieces, *BENCHMARKS]
    raise unknown("group of settings", thing, known)


def _refuse_unused(command: Command, experiment: ExperimentConfig) -> None:
    """A setting that was typed but that nothing of this run reads."""
    base = experiment.base
    pieces = {PIECES[slot].of(getattr(base, slot)).name: f"base={command.base}" for slot in PIECES}
    training = () if command.eval_only else (command.shaper, *pieces, *TRAINING_GROUPS)
    benches = {*command.bench, *([] if command.eval_only else [trained_bench(command)])}
    used = {"eval", "model", "prompt", "data", "rollout", *training, *benches}
    for thing, key, _ in command.settings:
        if thing in used:
            continue
        if thing in BENCHMARKS:
            raise UsageError(f"{thing}.{key} was set, but bench={','.join(command.bench)} does not use it")
        if command.eval_only and thing in (*TRAINING_GROUPS, command.shaper, *pieces):
            raise UsageError(f"{thing}.{key} was set, but eval_only=true trains nothing")
        owner = f"shaper={command.shaper}" if thing in SHAPERS else f"base={command.base}"
        raise UsageError(f"{thing}.{key} was set, but {owner} does not use it")


def _refuse_unfit(command: Command, experiment: ExperimentConfig) -> None:
    """Settings that are right each on its own, but not together."""
    if command.data is None and experiment.eval.split not in SPLITS:
        raise UsageError(
            f"eval.split must be one of {', '.join(SPLITS)}, got '{experiment.eval.split}': a twin has no other, a set "
            "given by data= may"
        )
    if command.eval_only:
        return
    cache, limit = experiment.base.overlong_cache, experiment.sampling.max_tokens
    if cache > limit:
        raise UsageError(f"base.overlong_cache={cache} must be at most sampling.max_tokens={limit}")
    lesson, overlap = trained_bench(command), experiment.reward.overlap
    if overlap and not BENCHMARKS[lesson].facts.boxes:
        raise UsageError(
            f"reward.overlap={overlap:g} must be 0: the answers of {lesson}, which is trained on, are no boxes"
        )


def settings_of(instance: object) -> dict[str, Any]:
    """The settings of a resolved piece, nested pieces as `name(settings)`."""
    assert dataclasses.is_dataclass(instance)
    values = {f.name: getattr(instance, f.name) for f in fields(instance)}
    return {name: _shown(name, value) for name, value in values.items()}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, float) and math.isinf(value):
        return str(value)  # JSON, and so a record, has no infinity
    if name not in PIECES or not dataclasses.is_dataclass(value):
        return value
    inside = ", ".join(f"{key}={part}" for key, part in settings_of(value).items())
    return f"{PIECES[name].of(value).name}({inside})"
