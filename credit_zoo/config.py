"""Words of the command line to an experiment, by way of gin.

A word without a dot picks a file of `configs/AXIS/` or sets a run option; a word with a dot changes one setting.
The files of the axes are parsed after `configs/default.gin`, the typed settings last. gin is imported here and in
`registry` alone. Nothing here imports torch until an experiment is resolved.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gin

from credit_zoo.registry import (
    AGGREGATIONS,
    BENCHMARKS,
    ESTIMATORS,
    LOSSES,
    RATIOS,
    SHAPERS,
    Registry,
    UsageError,
    unknown,
)
from credit_zoo.settings import coerce, setting

if TYPE_CHECKING:
    from credit_zoo.base import Base
    from credit_zoo.harness import Eval
    from credit_zoo.loop import Train
    from credit_zoo.policy import Model
    from credit_zoo.prompting import Prompting
    from credit_zoo.questions import Data
    from credit_zoo.rewards import Reward
    from credit_zoo.rollout import Sampling
    from credit_zoo.shaping import Shaper

_BESIDE = Path(__file__).parent / "configs"
CONFIGS = _BESIDE if _BESIDE.exists() else Path(__file__).parent.parent / "configs"
AXES = ("shaper", "base", "bench", "model", "scale")
OPTIONS: Mapping[str, str] = {
    "seed": "one or several, 0,1,2: a run for each",
    "steps": "optimizer steps, short for train.steps",
    "data": "a folder with the real set; without it the procedural twin is used",
    "eval_only": "true: measure the model, train nothing",
    "dry_run": "true: print the resolved settings and stop",
    "explain": "a shaper's equation, paper, settings and promises",
    "plugins": "files or folders with more shapers and benchmarks, comma-separated",
    "out": "folder for checkpoints and logs (runs)",
    "results": "folder for records (leaderboard/results)",
    "tracker": "none, tensorboard or wandb",
}
# The slots of a base and where their pieces are registered.
PIECES: Mapping[str, Registry[Any]] = {
    "estimator": ESTIMATORS, "ratio": RATIOS, "loss": LOSSES, "aggregation": AGGREGATIONS
}  # fmt: skip
TRAINING_THINGS = ("train", "base", "reward", "sampling")


@dataclass(frozen=True)
class Command:
    """What was typed, checked for form: axes, options, and (thing, setting, text) triples."""

    words: tuple[str, ...] = ()
    shaper: str = "uniform"
    base: str = "grpo"
    bench: tuple[str, ...] = ("geometry3k",)
    model: str = "small"
    scale: str = "laptop"
    seeds: tuple[int, ...] = (0,)
    data: str | None = None
    eval_only: bool = False
    dry_run: bool = False
    explain: str | None = None
    plugins: tuple[str, ...] = ()
    out: str = "runs"
    results: str = "leaderboard/results"
    tracker: str = "none"
    settings: tuple[tuple[str, str, str], ...] = ()


def parse(words: Sequence[str]) -> Command:
    """Checks the words against the axes, the options and the names there are."""
    plain: dict[str, str] = {}
    settings: list[tuple[str, str, str]] = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not text:
            raise UsageError(f"'{word}' is not of the form NAME=VALUE; `--help` shows the grammar")
        if "." in name:
            thing, _, key = name.partition(".")
            settings.append((thing, key, text))
        elif name == "steps":
            settings.append(("train", "steps", text))
        elif name in plain:
            raise UsageError(f"{name}= is given twice: {plain[name]} and {text}")
        elif name not in (*AXES, *OPTIONS):
            raise unknown("axis or option", name, (*AXES, *OPTIONS))
        else:
            plain[name] = text
    _refuse_repeated(settings)
    return _command(tuple(words), plain, tuple(settings))


def _refuse_repeated(settings: Sequence[tuple[str, str, str]]) -> None:
    seen: dict[str, str] = {}
    for thing, key, text in settings:
        name = f"{thing}.{key}"
        if name in seen:
            short = " (steps= is short for it)" if name == "train.steps" else ""
            raise UsageError(f"{name}= is given twice{short}: {seen[name]} and {text}")
        seen[name] = text


def _command(words: tuple[str, ...], plain: dict[str, str], settings: tuple[tuple[str, str, str], ...]) -> Command:
    plugins = tuple(plain.pop("plugins", "").split(",")) if "plugins" in plain else ()
    for plugin in plugins:
        if not plugin:
            raise UsageError("plugins= must be files or folders, separated by commas, with nothing empty between")
        SHAPERS.add_plugin(Path(plugin))
        BENCHMARKS.add_plugin(Path(plugin))
    values: dict[str, Any] = dict(plain)
    shaper = plain.get("shaper", "uniform")
    if shaper not in SHAPERS and shaper in gin_files("base"):
        if plain.get("base", shaper) != shaper:
            raise UsageError(
                f"shaper={shaper} names a base; with base={plain['base']} choose one of {', '.join(SHAPERS)}"
            )
        values |= {"shaper": "uniform", "base": shaper}
    if "seed" in values:
        values["seeds"] = _whole_numbers("seed", values.pop("seed"))
    for flag in ("eval_only", "dry_run"):
        if flag in values:
            values[flag] = _flag(flag, values[flag])
    if "bench" in values:
        values["bench"] = tuple(values["bench"].split(","))
    command = Command(words=words, plugins=plugins, settings=settings, **values)
    _check_names(command)
    return command


def _check_names(command: Command) -> None:
    if command.shaper not in SHAPERS:
        raise unknown("shaper", command.shaper, (*SHAPERS, *gin_files("base")))
    if command.explain is not None and command.explain not in SHAPERS:
        raise unknown("shaper", command.explain, SHAPERS)
    for name in command.bench:
        if name not in BENCHMARKS:
            raise unknown("bench", name, BENCHMARKS)
    for axis in ("base", "model", "scale"):
        if getattr(command, axis) not in gin_files(axis):
            raise unknown(axis, getattr(command, axis), gin_files(axis))
    if command.tracker not in ("none", "tensorboard", "wandb"):
        raise unknown("tracker", command.tracker, ("none", "tensorboard", "wandb"))
    if command.data is not None and not Path(command.data).exists():
        raise UsageError(f"data={command.data} does not exist")


def _whole_numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{name} must be whole numbers like 0 or 0,1,2, got '{text}'") from None
    if len(set(numbers)) < len(numbers) or not all(0 <= number < 2**32 for number in numbers):
        raise UsageError(f"{name} must be different numbers from 0 to 2**32 - 1, got '{text}'")
    return numbers


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError(f"{name} must be true or false, got '{text}'")
    return text == "true"


def gin_files(axis: str) -> dict[str, Path]:
    """The files of an axis by name."""
    return {path.stem: path for path in sorted((CONFIGS / axis).glob("*.gin"))}


def summary(path: Path) -> str:
    """The first comment line of a gin file."""
    return path.read_text(encoding="utf-8").split("\n")[0].lstrip("# ")


@dataclass(frozen=True)
class Experiment:
    """Everything a run needs, as settings: what the words resolve to."""

    shaper: "Shaper"
    base: "Base"
    train: "Train"
    sampling: "Sampling"
    eval: "Eval"
    model: "Model"
    prompt: "Prompting"
    reward: "Reward"
    data: "Data"
    operative: str = field(default="", compare=False)


@cache
def things() -> Mapping[str, type]:
    """The groups of settings by the word that a user types; registers them with gin on first use."""
    from credit_zoo import base, harness, loop, policy, prompting, questions, rewards, rollout

    found: dict[str, type] = {
        "base": base.Base,
        "train": loop.Train,
        "sampling": rollout.Sampling,
        "eval": harness.Eval,
        "model": policy.Model,
        "prompt": prompting.Prompting,
        "reward": rewards.Reward,
        "data": questions.Data,
        "experiment": Experiment,
    }
    for name, cls in found.items():
        gin.register(name)(cls)
    return found


def trained_bench(command: Command) -> str:
    """The benchmark whose train split the measured ones ask for."""
    wanted = {BENCHMARKS[name].facts.trains_on for name in command.bench}
    if len(wanted) > 1 and not command.eval_only:
        sets = ", ".join(f"{name} on {BENCHMARKS[name].facts.trains_on}" for name in command.bench)
        raise UsageError(f"one run trains on one set, but these benchmarks are trained differently: {sets}")
    return min(wanted)


def resolve(command: Command) -> Experiment:
    """Parses the files and the typed settings; refuses what is unknown, out of range, or used by nothing."""
    things()
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
        experiment: Experiment = gin.get_configurable("experiment")()
    except UsageError as error:
        raise UsageError(str(error).split("\n  In call to configurable")[0]) from None
    _refuse_unused(command, experiment)
    _refuse_unfit(command, experiment)
    # gin leaves out what has no literal of its own.
    infinite = [f"{binding}\n" for binding in _bindings(command) if binding.endswith("1e999")]
    return dataclasses.replace(experiment, operative="".join([gin.operative_config_str(), *infinite]))


def _optional(command: Command) -> Iterator[tuple[dict[str, Path], str]]:
    yield gin_files("bench"), command.bench[0]
    yield gin_files("shaper"), command.shaper


def _bindings(command: Command) -> Iterator[str]:
    """Typed settings as gin bindings, quoted as their types ask for."""
    for thing, key, text in command.settings:
        if thing == "base" and key in PIECES:
            yield f"base.{key} = @{PIECES[key].kind}.{PIECES[key][text].name}()"
        else:
            value = coerce(_class_of(thing), thing, key, text)
            infinite = isinstance(value, float) and math.isinf(value)
            yield f"{thing}.{key} = {math.copysign(1, value):.0f}e999" if infinite else f"{thing}.{key} = {value!r}"


def _class_of(thing: str) -> type:
    if thing in things() and thing != "experiment":
        return things()[thing]
    for registry in (SHAPERS, *PIECES.values()):
        if thing in registry:
            return registry[thing].factory
    pieces = [name for registry in PIECES.values() for name in registry]
    raise unknown("group of settings", thing, [*(t for t in things() if t != "experiment"), *SHAPERS, *pieces])


def _refuse_unused(command: Command, experiment: Experiment) -> None:
    """A setting that was typed but that nothing of this run reads."""
    base = experiment.base
    pieces = {PIECES[slot].of(getattr(base, slot)).name: f"base={command.base}" for slot in PIECES}
    training = () if command.eval_only else (command.shaper, *pieces, *TRAINING_THINGS)
    used = {"eval", "model", "prompt", "data", *training}
    for thing, key, _ in command.settings:
        if thing in used:
            continue
        if command.eval_only and thing in (*TRAINING_THINGS, command.shaper, *pieces):
            raise UsageError(f"{thing}.{key} was set, but eval_only=true trains nothing")
        owner = f"shaper={command.shaper}" if thing in SHAPERS else f"base={command.base}"
        raise UsageError(f"{thing}.{key} was set, but {owner} does not use it")


def _refuse_unfit(command: Command, experiment: Experiment) -> None:
    """Settings that are right each on its own, but not together."""
    cache, limit = experiment.base.overlong_cache, experiment.sampling.max_tokens
    if cache > limit and not command.eval_only:
        raise UsageError(f"base.overlong_cache={cache} must be at most sampling.max_tokens={limit}")


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


__all__ = [
    "AXES",
    "OPTIONS",
    "Command",
    "Experiment",
    "gin_files",
    "parse",
    "resolve",
    "setting",
    "settings_of",
    "summary",
]
