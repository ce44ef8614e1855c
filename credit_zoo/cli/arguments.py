"""The words of the command line, checked for form and against the names there are. Imports nothing heavy.

A word without a dot picks a file of `configs/AXIS/` or sets a run option; a word with a dot changes one setting.
"""

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit_zoo.cli.command_line import add_plugins, current_name
from credit_zoo.cli.setting_docs import settings_of_class
from credit_zoo.errors import UsageError, unknown
from credit_zoo.evaluation import BASELINES
from credit_zoo.registry import BENCHMARKS, COMBINATIONS, CONFIGS, PIECES, SHAPERS, VIEWS
from credit_zoo.rule_names import canonical, parts_of

AXES = ("shaper", "base", "bench", "model", "scale")
SHORT = {
    "steps": ("train", "steps"),
    "rollout": ("rollout", "engine"),
    "eval_steps": ("eval", "every"),
    "view": ("train", "view"),
}
# Settings under the names of version 0.1, which go on working for one version, with a warning.
RENAMED = {
    "train.ramp": "train.shaper_schedule",
    "train.schedule": "train.lr_schedule",
    "base.max_refills": "base.max_resampling_rounds",
    "permuted_pepo.alpha": "pepo.alpha",
    "permuted_pepo.temperature": "pepo.temperature",
    "permuted_pepo.seed": "permuted.seed",
    "high_entropy.rescale": "high_entropy.denominator",
}
# The values that settings under an old name have now.
RENAMED_VALUES = {"high_entropy.rescale": {"true": "kept", "false": "all"}}
# The groups of settings by the word that a user types, and where the class of each stands.
GROUPS: Mapping[str, str] = {
    "train": "credit_zoo.training.train_config:TrainConfig",
    "base": "credit_zoo.objective.base:Base",
    "sampling": "credit_zoo.rollout.sampling:SamplingParams",
    "reward": "credit_zoo.objective.rewards:Reward",
    "eval": "credit_zoo.evaluation.harness:EvalConfig",
    "data": "credit_zoo.questions.question_streams:DataConfig",
    "prompt": "credit_zoo.questions.prompt_format:PromptConfig",
    "model": "credit_zoo.policy.policy:ModelConfig",
    "rollout": "credit_zoo.rollout.engines:RolloutConfig",
    "parallel": "credit_zoo.training.engine:ParallelConfig",
    "checkpoint": "credit_zoo.training.checkpoints:CheckpointConfig",
}
OPTIONS: Mapping[str, str] = {
    "recipe": "the words of a paper's recipe, which typed ones override: a file of configs/recipe/",
    "seed": "one or several, 0,1,2: a run for each",
    "steps": "optimizer steps, short for train.steps",
    "eval_steps": "measure every so many steps during training, for the log; short for eval.every",
    "rollout": "hf or vllm: who samples; short for rollout.engine",
    "view": "what rules that ask are shown in the picture's place; short for train.view",
    "train_on": "the benchmark whose train split is trained on; without it the one that bench= names for it",
    "data": "a folder with the real set, or hub; without it the procedural twin is used",
    "baseline": "blank_image, majority, random: who does not look, measured beside the model",
    "eval_only": "true: measure the model, train nothing",
    "resume": "true: go on with the run of these settings that was stopped; a finished one is left as it is",
    "supersedes": "ids of recorded runs whose place this one takes, where a rerun of the same run should count",
    "dry_run": "true: print the resolved settings and stop",
    "explain": "what there is to say of a shaper, a base, a piece of one, a benchmark or a group of settings",
    "plugins": "files or folders with more shapers and benchmarks, comma-separated",
    "out": "folder for checkpoints and logs (runs)",
    "results": "folder for records and their page (results)",
    "tracker": "none, tensorboard or wandb",
}


@dataclass(frozen=True)
class Command:
    """What was typed, checked for form: axes, options, and (thing, setting, text) triples."""

    arguments: tuple[str, ...] = ()
    shaper: str = "uniform"
    base: str = "grpo"
    bench: tuple[str, ...] = ("geometry3k",)
    model: str = "habits"
    scale: str = "laptop"
    seeds: tuple[int, ...] = (0,)
    train_on: str | None = None
    data: str | None = None
    baseline: tuple[str, ...] = ()
    eval_only: bool = False
    resume: bool = False
    supersedes: tuple[str, ...] = ()
    dry_run: bool = False
    explain: str | None = None
    plugins: tuple[str, ...] = ()
    out: str = "runs"
    results: str = "results"
    tracker: str = "none"
    settings: tuple[tuple[str, str, str], ...] = ()


def parse(arguments: Sequence[str]) -> Command:
    """Checks the words against the axes, the options and the names there are."""
    typed, arguments = arguments, _with_recipe(arguments)
    plain: dict[str, str] = {}
    settings: list[tuple[str, str, str]] = []
    for word in arguments:
        name, equals, text = current_name(_with_current_value(word), RENAMED).partition("=")
        if not equals or not text:
            raise UsageError(f"'{word}' is not of the form NAME=VALUE; `--help` shows the grammar")
        if "." in name:
            thing, _, key = name.partition(".")
            settings.append((thing, key, text))
        elif name in SHORT:
            settings.append((*SHORT[name], text))
        elif name not in (*AXES, *OPTIONS):
            raise _unknown_word(name)
        else:
            plain[name] = text
    plain.pop("recipe", None)
    last = {(thing, key): text for thing, key, text in settings}  # of several words for one setting the last counts
    return _command(tuple(typed), plain, tuple((*name, text) for name, text in last.items()))


def _with_current_value(word: str) -> str:
    """The word with the value that it has under its setting's new name."""
    name, equals, value = word.partition("=")
    return name + equals + RENAMED_VALUES.get(name, {}).get(value.lower(), value)


def _with_recipe(arguments: Sequence[str]) -> list[str]:
    """The words of the recipe that is named, without those that are typed as well, and then the typed ones."""
    named = [word.partition("=")[2] for word in arguments if word.startswith("recipe=")]
    if not named:
        return list(arguments)
    recipes = {path.stem: path for path in sorted((CONFIGS / "recipe").glob("*.txt"))}
    if named[0] not in recipes:
        raise unknown("recipe", named[0], recipes)
    lines = recipes[named[0]].read_text(encoding="utf-8").splitlines()
    told = [word for line in lines for word in line.partition("#")[0].split()]
    typed = {word.partition("=")[0] for word in arguments}
    return [word for word in told if word.partition("=")[0] not in typed] + list(arguments)


def _unknown_word(name: str) -> UsageError:
    """The error for a word without a dot; the name of a setting is answered with its group."""
    groups = [group for group, target in GROUPS.items() if name in {one.name for one in settings_of_class(target)}]
    if groups:
        return UsageError(f"'{name}' is a setting of {' and '.join(groups)}: say {groups[0]}.{name}=VALUE")
    return unknown("axis or option", name, (*AXES, *OPTIONS))


def _command(arguments: tuple[str, ...], plain: dict[str, str], settings: tuple[tuple[str, str, str], ...]) -> Command:
    plugins = add_plugins(plain.pop("plugins")) if "plugins" in plain else ()
    values: dict[str, Any] = dict(plain)
    values["shaper"] = shaper = canonical(plain.get("shaper", "uniform"))
    if shaper not in SHAPERS and shaper in gin_files("base"):
        if plain.get("base", shaper) != shaper:
            raise UsageError(
                f"shaper={shaper} names a base; with base={plain['base']} choose one of {', '.join(SHAPERS)}"
            )
        values |= {"shaper": "uniform", "base": shaper}
    if "seed" in values:
        values["seeds"] = _whole_numbers("seed", values.pop("seed"))
    for flag in ("eval_only", "resume", "dry_run"):
        if flag in values:
            values[flag] = _flag(flag, values[flag])
    for listed in ("bench", "baseline", "supersedes"):
        if listed in values:
            values[listed] = tuple(values[listed].split(","))
    command = Command(arguments=arguments, plugins=plugins, settings=settings, **values)
    _check_names(command)
    return command


def _check_names(command: Command) -> None:
    if command.shaper not in SHAPERS:
        raise _unknown_shaper(command.shaper)
    trackers = ("none", "tensorboard", "wandb")
    chosen: list[tuple[str, str, Iterable[str]]] = [
        *(("bench", name, BENCHMARKS) for name in (*command.bench, *filter(None, [command.train_on]))),
        *(("baseline", name, BASELINES) for name in command.baseline),
        *((axis, getattr(command, axis), gin_files(axis)) for axis in ("base", "model", "scale")),
        ("tracker", command.tracker, trackers),
        *(("name to explain", name, explainable()) for name in filter(None, [command.explain])),
    ]
    for kind, name, known in chosen:
        if name not in set(known) and not (kind == "name to explain" and name in SHAPERS):
            raise unknown(kind, name, known)
    if command.tracker == "wandb" and importlib.util.find_spec("wandb") is None:
        raise UsageError("tracker=wandb needs the package wandb: pip install 'credit_zoo[wandb]'")
    if command.data not in (None, "hub") and not Path(command.data).exists():
        raise UsageError(f"data={command.data} does not exist")


def _unknown_shaper(name: str) -> UsageError:
    """The error for a name, or for the first part of a combination that is not there."""
    head, parts = parts_of(name)
    if not parts:
        return unknown("shaper", name, (*SHAPERS, *(f"{one}(...)" for one in COMBINATIONS), *gin_files("base")))
    if head not in COMBINATIONS:
        return unknown("combination", head, COMBINATIONS)
    return next(_unknown_shaper(part) for part in parts if part not in SHAPERS)


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


def explainable() -> tuple[str, ...]:
    """Everything that `explain=` has something to say of."""
    pieces = (name for registry in PIECES.values() for name in registry)
    groups = (name for name in GROUPS if name != "base")
    return tuple(dict.fromkeys((*SHAPERS, *gin_files("base"), *pieces, *BENCHMARKS, *VIEWS, *groups)))


def summary(path: Path) -> str:
    """The first comment line of a gin file."""
    return path.read_text(encoding="utf-8").split("\n")[0].lstrip("# ")


def trained_bench(command: Command) -> str:
    """The benchmark whose train split is trained on: `train_on=`, or the one that the measured ones ask for."""
    if command.train_on is not None:
        return command.train_on
    wanted = {BENCHMARKS[name].facts.trains_on for name in command.bench}
    if len(wanted) > 1 and not command.eval_only:
        sets = ", ".join(f"{name} on {BENCHMARKS[name].facts.trains_on}" for name in command.bench)
        raise UsageError(
            f"one run trains on one set, but these benchmarks are trained differently: {sets}; choose by train_on=NAME"
        )
    return min(wanted)
