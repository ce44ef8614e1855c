"""Which run this is: a new one, or under `resume=true` the unfinished one of the same words, if nothing else changed.

A run's folder keeps what it was started with. What is found changed under the same words (rows of a folder, a rule's
formula, weights) would make one record of two runs: it is named, as it was and as it is, and refused.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from credit_zoo import CONTRACT_VERSION, LOOP_VERSION
from credit_zoo.cli import trained_bench
from credit_zoo.errors import UsageError
from credit_zoo.experiment.config import benchmark, setting_groups, settings_of
from credit_zoo.experiment.context import EvalSet, RunContext
from credit_zoo.experiment.setting_roles import BESIDE, GRADER, base_code, bench_code, shaper_code
from credit_zoo.policy import encoder_digest
from credit_zoo.question import Question, Source
from credit_zoo.questions import HUB
from credit_zoo.results import digest, find, run_id_of
from credit_zoo.training import finished_runs, mark_started, unfinished_runs

CONTENTS = 256 * 2**20  # bytes of a folder that are read for its digest


class AlreadyFinished(Exception):
    """The run that was to go on has ended; its record."""

    def __init__(self, record: Path) -> None:
        self.record = record
        super().__init__(f"finished before: {record}")


def with_identity(context: RunContext, sets: Mapping[str, EvalSet], lesson: Source | None = None) -> RunContext:
    """The run with its place on disk: that of the one it goes on with, under resume=true, or a new one.

    `sets` are what it measures on, `lesson` what it trains on. Raises `UsageError` on every process where the run that
    it would go on with was started with something else.
    """
    command, begun, refused = context.command, started_with(context, sets, lesson), ""
    found, replaced, finished = list[tuple[str, str]](), tuple[str, ...](), list[Path]()
    if context.accelerator.is_main_process:
        try:
            replaced = _superseded(context, trains=lesson is not None)
            found = _stopped(context, begun) if command.resume else []
            finished = _finished(context, begun) if command.resume and not found else []
        except UsageError as error:
            refused = str(error)
    found, refused, replaced, finished = broadcast_object_list([found, refused, replaced, finished])
    if refused:
        raise UsageError(refused)
    if finished:
        raise AlreadyFinished(finished[-1])
    ((run_id, created),) = broadcast_object_list(found or [(context.run_id, context.created)])
    context = replace(context, run_id=run_id, created=created, supersedes=replaced)
    if found:
        context.log(f"resume  {context.folder}")
    elif command.resume:
        context.log(f"resume  no run of these settings and this seed stopped below {command.out}: a new one starts")
    if context.accelerator.is_main_process and not found:
        mark_started(context.folder, _key(context), created, begun)
    return context


def _stopped(context: RunContext, begun: Mapping[str, str]) -> list[tuple[str, str]]:
    """The id and the start of the run to go on with, if there is one."""
    stopped = unfinished_runs(Path(context.command.out), _key(context))
    fitting = [(run_id_of(folder.name), created) for folder, created, had in stopped if had == begun]
    if stopped and not fitting:
        raise UsageError(_changes(stopped[-1][0], stopped[-1][2], begun))
    return fitting[-1:]


def _finished(context: RunContext, begun: Mapping[str, str]) -> list[Path]:
    """The records of runs of these words, seed and data that ended."""
    runs = finished_runs(Path(context.command.out), _key(context))
    ids = [run_id_of(folder.name) for folder, _, had in runs if had == begun]
    results = Path(context.command.results)
    return [path for run_id in ids for path in sorted(results.rglob(f"*-{run_id}.json"))]


def _superseded(context: RunContext, trains: bool) -> tuple[str, ...]:
    """The runs of this seed that `supersedes=` names; refuses one that is no run of the same rule, base and set."""
    command, found = context.command, list[str]()
    own = f"{command.shaper} under {command.base}, trained on {trained_bench(command)}" if trains else "not trained"
    for run_id in command.supersedes:
        old = find(Path(command.results), run_id)
        theirs = "not trained"
        if old.training and old.shaper and old.base:
            theirs = f"{old.shaper.name} under {old.base.name}, trained on {old.training.source.bench}"
        if theirs != own or old.seed not in command.seeds:
            raise UsageError(
                f"supersedes={run_id} must be a run like this one ({own}), of its seed; it is {theirs}, seed {old.seed}"
            )
        found += [old.run_id] if old.seed == context.seed else []
    return tuple(found)


def started_with(context: RunContext, sets: Mapping[str, EvalSet], lesson: Source | None) -> dict[str, str]:
    """What a run's outcome depends on beside its words: code, versions, weights and data, by names for people."""
    command = context.command
    found = {
        "draws and loop": f"version {LOOP_VERSION}",
        "shapers' contract": f"version {CONTRACT_VERSION}",
        "grader": GRADER,
        "weights": context.weights,
        "tokenizer and image processor": encoder_digest(context.policy.encoder),
    }
    if lesson is not None:
        name = trained_bench(command)
        found |= {f"code of shaper {command.shaper}": shaper_code(command.shaper)}
        found |= {f"code of base {command.base}": base_code(context.config)}
        found |= {f"training questions of {name}": str(lesson), f"code of {name}": bench_code(name)}
        if command.data is not None and command.data != HUB:
            found |= {f"files of {command.data}": files_digest(Path(command.data))}
    for name, asked in sets.items():
        found |= {
            f"questions of {name}": f"{asked.source}, asked: {asked_digest(context, asked)}",
            f"code of {name}": bench_code(name),
        }
    return found


def files_digest(folder: Path) -> str:
    """A digest of a folder's files: their names and sizes, and of the first 256 MiB, in order, their contents. The
    pictures that are trained on are in no other key.
    """
    state, left = sha256(), CONTENTS
    for path in sorted(path for path in (folder.rglob("*") if folder.is_dir() else [folder]) if path.is_file()):
        size = path.stat().st_size
        state.update(f"{path.relative_to(folder.parent)} {size} ".encode())
        if size <= left:
            state.update(path.read_bytes())
            left -= size
    return state.hexdigest()[:16]


def answers_key(context: RunContext, asked: EvalSet) -> dict[str, Any]:
    """What the answers to a benchmark's questions depend on beside the weights and how many are drawn: part of the head
    of their log. What grades them is not in it: kept answers are graded anew.
    """
    groups = ("model", "prompt", "rollout")
    held = {key: value for group in groups for key, value in _settings(context.config, group).items()}
    version, encoder = LOOP_VERSION, encoder_digest(context.policy.encoder)
    return {"loop_version": version, "encoder": encoder, "prompts": asked_digest(context, asked), "held": held}


def asked_digest(context: RunContext, asked: EvalSet) -> str:
    """A digest of all that a benchmark asks and knows: prompts, truths and pictures, in order."""

    def parts(question: Question) -> Iterator[str]:
        yield from (question.id, question.answer, question.kind, str(question.choices), str(question.precision))
        yield context.config.prompt.text(asked.bench, question)
        if question.image is not None:
            picture = question.image
            yield f"{picture.mode} {picture.size} {sha256(picture.tobytes()).hexdigest()}"

    return digest(part for question in asked.asked for part in parts(question))


def _key(context: RunContext) -> str:
    """The words and settings by which an unfinished run is found again: all but those that change no number."""
    command, config = context.command, context.config
    lessons = () if command.eval_only else (trained_bench(command),)
    own = {name: settings_of(benchmark(command, name)) for name in {*command.bench, *lessons}}
    groups = {group: _settings(config, group) for group in setting_groups() if group != "experiment"}
    words = (command.shaper, command.base, command.bench, command.data, command.baseline, command.eval_only)
    what = [*words, settings_of(config.shaper), groups, own, context.seed]
    return digest([json.dumps(what, sort_keys=True)])


def _settings(config: object, group: str) -> dict[str, Any]:
    found = settings_of(getattr(config, group))
    return {f"{group}.{key}": value for key, value in found.items() if f"{group}.{key}" not in BESIDE}


def _changes(folder: Path, then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What is otherwise than when a run was started, as a sentence to the user."""
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    lines = [f"  {name}: {then.get(name, 'none')} then, {now.get(name, 'none')} now" for name in names]
    return "\n".join(
        [
            f"resume=true: {folder} was started with other things than there are now:",
            *lines,
            "Put back what it was started with, or start a new run without resume=true.",
        ]
    )
