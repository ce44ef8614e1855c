"""A command to an experiment, by way of gin.

The files of the axes are parsed after `configs/default.gin`, the typed settings last. gin is imported here and in
`registry` alone. Nothing here imports torch until an experiment is resolved.
"""

import dataclasses
import importlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gin

from credit_zoo.cli import GROUPS, Command, coerce, gin_files, trained_bench
from credit_zoo.errors import UsageError, unknown
from credit_zoo.experiment.setting_owners import SLOTS, is_of_a_bench
from credit_zoo.experiment.validation import refuse_unfit, refuse_unused
from credit_zoo.registry import BENCHMARKS, COMBINATIONS, CONFIGS, SHAPERS, Entry, Registry
from credit_zoo.rule_names import gin_name, heads_of

if TYPE_CHECKING:
    from credit_zoo.evaluation import EvalConfig
    from credit_zoo.objective import Base, Reward, Shaper
    from credit_zoo.policy import ModelConfig
    from credit_zoo.questions import Benchmark, DataConfig, PromptConfig
    from credit_zoo.rollout import RolloutConfig, SamplingParams
    from credit_zoo.training import CheckpointConfig, ParallelConfig, TrainConfig


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
    found: dict[str, type] = {"experiment": ExperimentConfig}
    for name, target in GROUPS.items():
        module, _, cls = target.partition(":")
        found[name] = getattr(importlib.import_module(module), cls)
    for name, group in found.items():
        gin.register(name)(group)
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
    chosen = [f"experiment.shaper = @shaper.{gin_name(shaper.name)}()", *_parts(shaper)]
    try:
        gin.parse_config_files_and_bindings(
            [str(file) for file in files],
            [*chosen, *_bindings(command)],
            finalize_config=False,
            print_includes_and_imports=False,
        )
        experiment: ExperimentConfig = gin.get_configurable("experiment")()
    except UsageError as error:
        raise UsageError(str(error).split("\n  In call to configurable")[0]) from None
    refuse_unused(command, experiment)
    refuse_unfit(command, experiment)
    for name in {thing for thing, key, _ in command.settings if is_of_a_bench(thing, key)}:
        benchmark(command, name)
    # gin leaves out what has no literal of its own, and does not make the benchmarks.
    more = [f"{binding}\n" for binding in _bindings(command) if "1e999" in binding]
    more += [f"{thing}.{key} = {text!r}\n" for thing, key, text in command.settings if is_of_a_bench(thing, key)]
    return dataclasses.replace(experiment, gin_text="".join([gin.operative_config_str(), *more]))


def _optional(command: Command) -> Iterator[tuple[dict[str, Path], str]]:
    yield gin_files("bench"), command.bench[0]
    for name in heads_of(command.shaper):
        yield gin_files("shaper"), name


def _parts(shaper: Entry[Any]) -> Iterator[str]:
    """What a combination combines, as gin bindings."""
    if shaper.parts:
        rules = "".join(f"@shaper.{gin_name(part.name)}(), " for part in shaper.parts)
        yield f"shaper.{gin_name(shaper.name)}.rules = ({rules})"
        for part in shaper.parts:
            yield from _parts(part)


def _combinations(shaper: Entry[Any], head: str) -> Iterator[str]:
    """The names in gin of a rule and of its parts that are combinations of one kind."""
    if heads_of(shaper.name)[0] == head:
        yield f"shaper.{gin_name(shaper.name)}"
    for part in shaper.parts:
        yield from _combinations(part, head)


def _bindings(command: Command) -> Iterator[str]:
    """Typed settings as gin bindings, quoted as their types ask for."""
    for thing, key, text in command.settings:
        if is_of_a_bench(thing, key):
            continue
        if (thing, key) in SLOTS:
            yield f"{thing}.{key} = @{SLOTS[thing, key].kind}.{SLOTS[thing, key][text].name}()"
        else:
            value = _literal(coerce(_class_of(thing), thing, key, text))
            names = _combinations(SHAPERS[command.shaper], thing) if thing in COMBINATIONS else [_in_gin(thing)]
            yield from (f"{name}.{key} = {value}" for name in names)


def _literal(value: Any) -> str:
    """A value as gin reads it, which has no word for infinity."""
    if isinstance(value, tuple):
        return f"({''.join(f'{_literal(part)}, ' for part in value)})".replace("(, )", "()")
    if isinstance(value, float) and math.isinf(value):
        return f"{math.copysign(1, value):.0f}e999"
    return repr(value)


def _in_gin(thing: str) -> str:
    """A rule that shares its name with a benchmark is told from it by its kind."""
    return f"{SHAPERS.kind}.{thing}" if thing in SHAPERS and thing in BENCHMARKS else thing


def benchmark(command: Command, name: str) -> "Benchmark":
    """A benchmark with the settings that were typed for it, `mathvista.drop_geometry3k=true`."""
    factory = BENCHMARKS[name].factory
    own = [(key, text) for thing, key, text in command.settings if thing == name and is_of_a_bench(thing, key)]
    typed = {key: coerce(factory, name, key, text) for key, text in own}
    made: Benchmark = factory(**typed)
    return made


def _class_of(thing: str) -> type:
    if thing in setting_groups() and thing != "experiment":
        return setting_groups()[thing]
    registries: tuple[Registry[Any], ...] = (SHAPERS, COMBINATIONS, *SLOTS.values())
    for registry in registries:
        if thing in registry:
            return registry[thing].factory
    pieces = [name for registry in SLOTS.values() for name in registry]
    known = [*(t for t in setting_groups() if t != "experiment"), *SHAPERS, *pieces, *BENCHMARKS]
    raise unknown("group of settings", thing, known)


def settings_of(instance: object) -> dict[str, Any]:
    """The settings of a resolved piece, nested pieces as `name(settings)`."""
    assert dataclasses.is_dataclass(instance)
    values = {f.name: getattr(instance, f.name) for f in fields(instance)}
    return {name: _shown(name, value) for name, value in values.items()}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, float) and math.isinf(value):
        return str(value)  # JSON, and so a record, has no infinity
    if isinstance(value, tuple):
        return tuple(_shown(name, part) for part in value)
    registries: dict[str, Registry[Any]] = {"rules": SHAPERS, **{slot: one for (_, slot), one in SLOTS.items()}}
    registry = registries.get(name)
    if registry is None or not dataclasses.is_dataclass(value):
        return value
    inside = ", ".join(f"{key}={part}" for key, part in settings_of(value).items())
    return f"{registry.of(value).name}({inside})"
