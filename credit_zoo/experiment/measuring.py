"""Measuring a run's benchmarks before and after training: questions, kept answers, baselines."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from credit_zoo.answers import RULES
from credit_zoo.cli import Command, trained_bench
from credit_zoo.evaluation import AnswerLog, Measured, best_constant, blank, grade, guesses, measure, read_log
from credit_zoo.experiment.config import benchmark, settings_of
from credit_zoo.experiment.context import Asked, Context, Stage, evaluation
from credit_zoo.policy import weights_digest
from credit_zoo.questions import HUB, Framed, Questions, open_questions
from credit_zoo.registry import BENCHMARKS, UsageError
from credit_zoo.results import interval, record
from credit_zoo.rollout import Asker


def folder_of(command: Command, bench: str) -> str | None:
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


def asked_of(context: Context, name: str) -> Asked:
    """The questions that a benchmark is measured on, at most `eval.questions`."""
    x = context.x
    command, bench = context.command, benchmark(context.command, name)
    folder, split = folder_of(command, name), x.eval.split
    typed = any(word[:2] == ("eval", "split") for word in command.settings)
    if command.eval_only and folder and BENCHMARKS[name].facts.own_split and not typed:
        split = "all"
    stream = framed(context, open_questions(bench, split, folder, x.data, x.eval.seed, shuffle=False))
    count = min(x.eval.questions, stream.source.rows or x.eval.questions)
    context.say(f"measure {stream.source}: {count} questions of split '{split}'")
    return Asked(bench, [stream[index] for index in range(count)], stream.source, split)


def framed(context: Context, questions: Questions) -> Questions:
    """Questions with true boxes in the numbers that the policy speaks."""
    return Framed(questions, context.x.model.boxes, context.policy.encoder.input_size)


def measure_all(context: Context, sets: Mapping[str, Asked], stage: Stage) -> list[record.Evaluation]:
    """Every benchmark, before or after training; what the run that this one goes on with has measured is taken over."""
    evaluations = []
    for name, asked in sets.items():
        asker = Asker(context.policy, asked.bench, context.x.prompt, context.sampler)
        rule = None if asked.source.twin else RULES.get(name)
        kept = context.folder / "answers" / f"{name}-{stage}.jsonl.gz"
        if kept.exists():  # by the run that this one goes on with
            _, questions, sampled, greedy = read_log(kept)
            measured = grade(asked.bench, questions, sampled, greedy, rule)
        else:
            log = _log(context, name, asked)
            measured = measure(asker, asked.questions, context.x.eval, f"{name} {stage}", log, rule)
            if log:
                log.keep(kept)
        context.say(_told(name, measured, stage, context.x.eval.samples))
        baselines = _baselines(context, name, asked) if stage == "after" else {}
        evaluations.append(evaluation(context.x, name, asked, measured, stage, baselines))
    return evaluations


def _log(context: Context, name: str, asked: Asked) -> AnswerLog | None:
    """Where the answers are kept as they come; None where several processes ask together."""
    if context.accelerator.num_processes > 1:
        return None
    head = {
        "bench": name,
        "source": str(asked.source),
        "twin": asked.source.twin,
        "settings": settings_of(asked.bench),
        "model": weights_digest(context.policy),
        "eval": settings_of(context.x.eval),
        "prompt": settings_of(context.x.prompt),
        "dtype": context.x.model.dtype,
    }
    return AnswerLog(Path(context.command.out) / "unfinished", head, asked.questions)


def _told(name: str, measured: Measured, stage: Stage, samples: int) -> str:
    found = interval(np.asarray([measured.mean]), over_seeds=False)
    parts = [f"avg@{samples} {100 * measured.accuracy:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"]
    if measured.greedy_accuracy is not None:
        parts.append(f"greedy {100 * measured.greedy_accuracy:.1f}")
    parts.append(f"pass@{samples} {100 * measured.pass_rate:.1f}")
    if measured.official is not None:
        parts.append(f"by the published rule {100 * measured.official:.1f}")
    parts.append(f"no answer found in {100 * measured.no_answer:.1f}")
    return f"{stage:<7} {name}: {', '.join(parts)} (%)"


def _baselines(context: Context, name: str, asked: Asked) -> dict[str, float]:
    """The scores of those who do not look, as the command asks for them."""
    found, e = {}, context.x.eval
    for baseline in context.command.baseline:
        if baseline == "blank_image":
            blanked = [blank(question) for question in asked.questions]
            asker = Asker(context.policy, asked.bench, context.x.prompt, context.sampler)
            measured = measure(asker, blanked, replace(e, greedy=False), f"{name} blank")
        elif baseline == "majority":
            constant = best_constant(asked.bench, asked.questions)
            measured = grade(asked.bench, asked.questions, [constant] * len(asked.questions))
        else:
            measured = grade(asked.bench, asked.questions, guesses(asked.questions, e.samples, e.seed))
        found[baseline] = measured.accuracy
        context.say(f"        {name}, {baseline}: {100 * measured.accuracy:.1f} (%)")
    return found
