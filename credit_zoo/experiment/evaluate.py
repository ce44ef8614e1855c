"""Measuring a run's benchmarks before and after training: questions, kept answers, baselines."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from credit_zoo.answers import RULES
from credit_zoo.cli import Command, trained_bench
from credit_zoo.errors import UsageError
from credit_zoo.evaluation import (
    Completions,
    EvalConfig,
    EvalResult,
    GenerationLog,
    Rule,
    best_constant_answer,
    blank_image,
    full_head,
    grade,
    key_of,
    measure,
    passes,
    random_answers,
    read_generations,
    read_head,
)
from credit_zoo.experiment.config import ExperimentConfig, benchmark, settings_of
from credit_zoo.experiment.context import EvalSet, RunContext, Stage, evaluation
from credit_zoo.experiment.run_identity import answers_key
from credit_zoo.policy import weights_digest
from credit_zoo.questions import (
    HUB,
    Benchmark,
    FramedQuestions,
    OpenedOnUse,
    Questions,
    Refusal,
    check_folder,
    choose,
    open_questions,
    shown_size,
)
from credit_zoo.registry import BENCHMARKS
from credit_zoo.results import atomic_bytes, interval, package_versions, record
from credit_zoo.rollout import RolloutWorker
from credit_zoo.training import Trainer, sync

SAMPLING_PACKAGES = ("torch", "transformers", "vllm")  # which can change an answer


def data_folder(command: Command, bench: str) -> str | None:
    """The folder of one set: `data=` itself, or its subfolder of the set's name; "hub" stays what it is."""
    if command.data in (None, HUB):
        return command.data
    inside = Path(command.data) / bench
    if inside.is_dir():
        return str(inside)
    involved = {*command.bench, *([] if command.eval_only else [trained_bench(command)])}
    if len(involved) > 1:
        raise UsageError(f"data={command.data} has no folder '{bench}'; this run needs {', '.join(sorted(involved))}")
    return command.data


def check_data(command: Command, config: ExperimentConfig) -> None:
    """Refuses data that no question can come from, before anything is loaded: what the folder lacks, or a split of a
    twin that it has not.
    """
    for name in command.bench:
        check_folder(benchmark(command, name), config.eval.split, data_folder(command, name))
    if not command.eval_only:
        lesson = trained_bench(command)
        check_folder(benchmark(command, lesson), "train", data_folder(command, lesson))


def eval_set(context: RunContext, name: str) -> EvalSet:
    """The questions that a benchmark is measured on, `eval.questions` of them, or all."""
    config = context.config
    command, bench = context.command, benchmark(context.command, name)
    folder, split = data_folder(command, name), config.eval.split
    typed = any(word[:2] == ("eval", "split") for word in command.settings)
    if command.eval_only and folder and BENCHMARKS[name].facts.own_split and not typed:
        split = "all"
    rows = open_questions(bench, split, folder, config.data, config.eval.seed, False, refusal(context, bench))
    stream = in_model_frame(context, rows)
    asked = choose(stream, config.eval.questions, config.eval.seed)
    sample = f", a sample by eval.seed={config.eval.seed}" if 0 < len(asked) < stream.source.rows else ""
    context.log(f"measure {stream.source}: {len(asked)} questions of split '{split}'{sample}")
    return EvalSet(bench, asked, stream.source, split)


def refusal(context: RunContext, bench: Benchmark) -> Refusal:
    """Why the policy does not take a question, told from its prompt and its picture's size."""
    encoder, prompting = context.policy.encoder, context.config.prompt
    return lambda question: encoder.refusal(shown_size(question), prompting.text(bench, question))


def in_model_frame(context: RunContext, questions: Questions) -> Questions:
    """Questions with true boxes in the numbers that the policy speaks."""
    return FramedQuestions(questions, context.config.model.boxes, context.policy.encoder.input_size)


def evaluate_all(context: RunContext, sets: Mapping[str, EvalSet], stage: Stage) -> list[record.Evaluation]:
    """Every benchmark, before or after training; what was measured already is taken over."""
    evaluations, weights = [], _weights(context, stage)
    for name, questions_set in sets.items():
        rule = None if questions_set.source.twin else RULES.get(name)
        head = _head(context, name, questions_set, weights)
        result = _ask(context, Asking(f"{name}-{stage}", head, questions_set, context.config.eval, rule))
        context.log(_result_line(name, result, stage, context.config.eval.samples))
        baselines = _baselines(context, name, questions_set, head) if stage == "after" else {}
        cooled = context.config.eval.temperature_row
        row = _temperature_row(context, name, questions_set, head, stage, result) if cooled else {}
        evaluations.append(evaluation(context.config, name, questions_set, result, stage, baselines, row))
    return evaluations


def _temperature_row(
    context: RunContext, name: str, questions_set: EvalSet, head: Mapping[str, Any], stage: Stage, result: EvalResult
) -> dict[str, float]:
    """Accuracy at each temperature of the row; `result` is the headline, which is one of them."""
    known = {context.config.eval.temperature: result.accuracy, 0.0: result.greedy_accuracy}
    found = {}
    for temperature, settings in passes(context.config.eval):
        if (share := known.get(temperature)) is not None:
            found[f"{temperature:g}"] = share
            continue
        told = {"temperature": temperature, "samples": settings.samples, "greedy": False}
        cooled = {**head, "eval": {**head["eval"], **told}}
        asked = Asking(f"{name}-t{temperature:g}-{stage}", cooled, questions_set, settings)
        found[f"{temperature:g}"] = _ask(context, asked).accuracy
    row = ", ".join(f"T={key} {100 * share:.1f}" for key, share in found.items())
    context.log(f"        {name}, sharpened alone: {row} (%)")
    return found


def evaluate_during(context: RunContext, sets: Mapping[str, EvalSet], trainer: Trainer, step: int) -> None:
    """Every benchmark with the weights of a step, for people: a line, and one in `evaluations.jsonl`. The record has
    none of it, and training goes on as it would have.
    """
    with trainer.engine.whole():
        context.policy.eval()
        sync(trainer)
        for name, questions_set in sets.items():
            worker = RolloutWorker(context.policy, questions_set.bench, context.config.prompt, context.sampler)
            settings = context.config.eval
            result = measure(worker, questions_set.asked, settings, f"{name} step {step}", processes=context.processes)
            context.log(_result_line(name, result, f"step {step}", settings.samples))
            if context.processes.rank == 0:
                told = {"step": step, "bench": name, "value": result.accuracy, "greedy": result.greedy_accuracy}
                with (context.folder / "evaluations.jsonl").open("a", encoding="utf-8") as log:
                    print(json.dumps({**told, "pass_at_n": result.pass_rate}), file=log)


@dataclass(frozen=True)
class Asking:
    """One measurement: the name of its log in the run's folder, everything its answers depend on, what is asked."""

    name: str
    head: Mapping[str, Any]
    asked: EvalSet
    settings: EvalConfig
    official: Rule | None = None


def _ask(context: RunContext, what: Asking) -> EvalResult:
    """The result of a measurement, from kept answers where it was made before: by the run that this one goes on with,
    by one that was stopped before it wrote its record, or, before training, by a run from the same weights.
    """
    head, processes = full_head(what.head, what.asked.questions), context.processes
    kept = context.folder / "answers" / f"{what.name}.jsonl.gz"
    elsewhere = _shared(context, "before" if what.name.endswith("-before") else "unfinished", head)
    found = _taken_over(head, kept, elsewhere) if processes.rank == 0 else None
    (answers,) = processes.share([found] if processes.rank == 0 else [])
    if answers:
        place, sampled, greedy = answers
        context.log(f"kept    {what.name}: {len(sampled)} questions are taken over from {place}")
        return grade(what.asked.bench, what.asked.questions, sampled, greedy, what.official)
    folder = Path(context.command.out) / "unfinished"
    log = GenerationLog(folder, what.head, what.asked.questions, processes)
    if left := sum(map(len, log.done.values())):
        context.log(f"kept    {what.name}: {left} answers of an earlier start are below {folder}, the rest is asked")
    worker = RolloutWorker(context.policy, what.asked.bench, context.config.prompt, context.sampler)
    title = what.name.replace("-", " ")
    result = measure(worker, what.asked.asked, what.settings, title, log, what.official, processes)
    log.keep(kept, elsewhere)
    return result


def _shared(context: RunContext, kind: str, head: Mapping[str, Any]) -> Path:
    """Where a finished measurement lies for other runs: of "unfinished" ones until their record is written."""
    return Path(context.command.out) / kind / f"{key_of(head)}.jsonl.gz"


def _taken_over(
    head: Mapping[str, Any], kept: Path, elsewhere: Path
) -> tuple[str, list[Completions], list[Completions] | None] | None:
    """The answers of a finished log of exactly this measurement and its place; it is in the run's folder then."""
    for path in (kept, elsewhere):
        if not path.exists():
            continue
        theirs = read_head(path)
        if theirs == head:
            _, _, sampled, greedy = read_generations(path)
            if path != kept:
                atomic_bytes(kept, path.read_bytes())
            return str(path), sampled, greedy
        differing = ", ".join(sorted(key for key in {*theirs, *head} if theirs.get(key) != head.get(key)))
        print(f"{path} answers another measurement ({differing}): asked again", flush=True)
    return None


def release(context: RunContext) -> None:
    """Once the record is written: what other starts of the run would take over is in its folder alone."""
    for path in (context.folder / "answers").glob("*.jsonl.gz"):
        _shared(context, "unfinished", read_head(path)).unlink(missing_ok=True)


def _weights(context: RunContext, stage: Stage) -> str:
    """The digest of the weights that are measured, which one process takes: those of a large model take a while."""
    if stage == "before" or context.command.eval_only:
        return context.weights
    main = context.processes.rank == 0
    (found,) = context.processes.share([weights_digest(context.policy)] if main else [])
    return str(found)


def _head(context: RunContext, name: str, questions_set: EvalSet, weights: str) -> dict[str, Any]:
    """Everything that the answers depend on, but the questions themselves."""
    # They choose the questions, or change no answer.
    beside = ("questions", "split", "batch", "tokens", "every", "temperature_row")
    return {
        **answers_key(context, questions_set),
        "bench": name,
        "source": str(questions_set.source),
        "twin": questions_set.source.twin,
        "settings": settings_of(questions_set.bench),
        "model": weights,
        "eval": {key: value for key, value in settings_of(context.config.eval).items() if key not in beside},
        "prompt": settings_of(context.config.prompt),
        "dtype": context.config.model.dtype,
        "engine": context.config.rollout.engine,
        "packages": {name: version for name, version in package_versions().items() if name in SAMPLING_PACKAGES},
    }


def _result_line(name: str, result: EvalResult, stage: str, samples: int) -> str:
    found = interval(np.asarray([result.mean]), over_seeds=False)
    parts = [f"avg@{samples} {100 * result.accuracy:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"]
    if result.greedy_accuracy is not None:
        parts.append(f"greedy {100 * result.greedy_accuracy:.1f}")
    parts.append(f"pass@{samples} {100 * result.pass_rate:.1f}")
    if result.official is not None:
        parts.append(f"by the published rule {100 * result.official:.1f}")
    parts.append(f"no answer found in {100 * result.no_answer:.1f}")
    return f"{stage:<7} {name}: {', '.join(parts)} (%)"


def _baselines(context: RunContext, name: str, questions_set: EvalSet, head: Mapping[str, Any]) -> dict[str, float]:
    """The scores of those who do not look, as the command asks for them."""
    found, e = {}, context.config.eval
    bench, questions = questions_set.bench, questions_set.questions
    for baseline in context.command.baseline:
        if baseline == "blank_image":
            blank = {**head, "pictures": "blank"}
            what = Asking(f"{name}-blank_image", blank, _blank(questions_set), replace(e, greedy=False))
            result = _ask(context, what)
        elif baseline == "majority":
            result = grade(bench, questions, [best_constant_answer(bench, questions)] * len(questions))
        else:
            result = grade(bench, questions, random_answers(questions, e.samples, e.seed))
        found[baseline] = result.accuracy
        context.log(f"        {name}, {baseline}: {100 * result.accuracy:.1f} (%)")
    return found


def _blank(questions_set: EvalSet) -> EvalSet:
    asked = questions_set.asked
    return replace(questions_set, asked=OpenedOnUse(asked.told, lambda place: blank_image(asked[place])))
