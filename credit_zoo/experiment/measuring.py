"""Measuring a run's benchmarks before and after training: questions, kept answers, baselines."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from credit_zoo.answers import RULES
from credit_zoo.cli import Command, trained_bench
from credit_zoo.evaluation import (
    EvalResult,
    GenerationLog,
    best_constant_answer,
    blank_image,
    grade,
    measure,
    random_answers,
    read_generations,
)
from credit_zoo.experiment.config import ExperimentConfig, benchmark, settings_of
from credit_zoo.experiment.context import EvalSet, RunContext, Stage, evaluation
from credit_zoo.policy import weights_digest
from credit_zoo.questions import (
    HUB,
    Benchmark,
    FramedQuestions,
    Questions,
    Refusal,
    check_folder,
    open_questions,
    shown_size,
)
from credit_zoo.registry import BENCHMARKS, UsageError
from credit_zoo.results import interval, record
from credit_zoo.rollout import RolloutWorker


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
    """The questions that a benchmark is measured on, at most `eval.questions`."""
    config = context.config
    command, bench = context.command, benchmark(context.command, name)
    folder, split = data_folder(command, name), config.eval.split
    typed = any(word[:2] == ("eval", "split") for word in command.settings)
    if command.eval_only and folder and BENCHMARKS[name].facts.own_split and not typed:
        split = "all"
    rows = open_questions(bench, split, folder, config.data, config.eval.seed, False, refusal(context, bench))
    stream = in_model_frame(context, rows)
    count = min(config.eval.questions, stream.source.rows or config.eval.questions)
    context.log(f"measure {stream.source}: {count} questions of split '{split}'")
    return EvalSet(bench, [stream[index] for index in range(count)], stream.source, split)


def refusal(context: RunContext, bench: Benchmark) -> Refusal:
    """Why the policy does not take a question, told from its prompt and its picture's size."""
    encoder, prompting = context.policy.encoder, context.config.prompt
    return lambda question: encoder.refusal(shown_size(question), prompting.text(bench, question))


def in_model_frame(context: RunContext, questions: Questions) -> Questions:
    """Questions with true boxes in the numbers that the policy speaks."""
    return FramedQuestions(questions, context.config.model.boxes, context.policy.encoder.input_size)


def evaluate_all(context: RunContext, sets: Mapping[str, EvalSet], stage: Stage) -> list[record.Evaluation]:
    """Every benchmark, before or after training; what the run that this one goes on with has measured is taken over."""
    evaluations = []
    for name, questions_set in sets.items():
        worker = RolloutWorker(context.policy, questions_set.bench, context.config.prompt, context.sampler)
        rule = None if questions_set.source.twin else RULES.get(name)
        kept = context.folder / "answers" / f"{name}-{stage}.jsonl.gz"
        if kept.exists():  # by the run that this one goes on with
            _, questions, sampled, greedy = read_generations(kept)
            result = grade(questions_set.bench, questions, sampled, greedy, rule)
        else:
            log = _log(context, name, questions_set)
            result = measure(worker, questions_set.questions, context.config.eval, f"{name} {stage}", log, rule)
            if log:
                log.keep(kept)
        context.log(_result_line(name, result, stage, context.config.eval.samples))
        baselines = _baselines(context, name, questions_set) if stage == "after" else {}
        evaluations.append(evaluation(context.config, name, questions_set, result, stage, baselines))
    return evaluations


def _log(context: RunContext, name: str, questions_set: EvalSet) -> GenerationLog | None:
    """Where the answers are kept as they come; None where several processes ask together."""
    if context.accelerator.num_processes > 1:
        return None
    head = {
        "bench": name,
        "source": str(questions_set.source),
        "twin": questions_set.source.twin,
        "settings": settings_of(questions_set.bench),
        "model": weights_digest(context.policy),
        "eval": settings_of(context.config.eval),
        "prompt": settings_of(context.config.prompt),
        "dtype": context.config.model.dtype,
    }
    return GenerationLog(Path(context.command.out) / "unfinished", head, questions_set.questions)


def _result_line(name: str, result: EvalResult, stage: Stage, samples: int) -> str:
    found = interval(np.asarray([result.mean]), over_seeds=False)
    parts = [f"avg@{samples} {100 * result.accuracy:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"]
    if result.greedy_accuracy is not None:
        parts.append(f"greedy {100 * result.greedy_accuracy:.1f}")
    parts.append(f"pass@{samples} {100 * result.pass_rate:.1f}")
    if result.official is not None:
        parts.append(f"by the published rule {100 * result.official:.1f}")
    parts.append(f"no answer found in {100 * result.no_answer:.1f}")
    return f"{stage:<7} {name}: {', '.join(parts)} (%)"


def _baselines(context: RunContext, name: str, questions_set: EvalSet) -> dict[str, float]:
    """The scores of those who do not look, as the command asks for them."""
    found, e = {}, context.config.eval
    for baseline in context.command.baseline:
        if baseline == "blank_image":
            blanked = [blank_image(question) for question in questions_set.questions]
            worker = RolloutWorker(context.policy, questions_set.bench, context.config.prompt, context.sampler)
            result = measure(worker, blanked, replace(e, greedy=False), f"{name} blank")
        elif baseline == "majority":
            constant = best_constant_answer(questions_set.bench, questions_set.questions)
            result = grade(questions_set.bench, questions_set.questions, [constant] * len(questions_set.questions))
        else:
            result = grade(
                questions_set.bench, questions_set.questions, random_answers(questions_set.questions, e.samples, e.seed)
            )
        found[baseline] = result.accuracy
        context.log(f"        {name}, {baseline}: {100 * result.accuracy:.1f} (%)")
    return found
