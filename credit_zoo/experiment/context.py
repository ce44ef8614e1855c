"""What one run works with, and what it writes down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator

from credit_zoo import CONTRACT_VERSION
from credit_zoo.answers import GRADER_VERSION
from credit_zoo.cli import Command
from credit_zoo.evaluation import Measured, outcome
from credit_zoo.experiment.config import Experiment, benchmark, settings_of
from credit_zoo.policy import Policy
from credit_zoo.question import Question, Source, Split
from credit_zoo.questions import Benchmark
from credit_zoo.registry import BENCHMARKS
from credit_zoo.results import digest, machine, origin, record, repeatable
from credit_zoo.rollout import Sampler
from credit_zoo.training import StepReport

ROUND = 5  # decimals of the curve
Stage = Literal["before", "after"]


@dataclass(frozen=True)
class Context:
    """What one run works with."""

    command: Command
    x: Experiment
    seed: int
    run_id: str
    created: str
    accelerator: Accelerator
    policy: Policy
    weights: str  # digest of the weights that the run starts from
    sampler: Sampler | None = None  # who samples in the policy's place

    @property
    def folder(self) -> Path:
        """Checkpoints, logs and nothing that must be kept."""
        return Path(self.command.out) / self.run_id

    def say(self, text: str) -> None:
        """Prints once, whatever the number of processes."""
        if self.accelerator.is_main_process:
            print(text, flush=True)


@dataclass(frozen=True)
class Asked:
    """The questions that a benchmark is measured on."""

    bench: Benchmark
    questions: Sequence[Question]
    source: Source
    split: Split


@dataclass(frozen=True)
class Trained:
    """What was trained on, and a report of every step."""

    source: Source
    bench: str
    split: str
    reports: tuple[StepReport, ...]


def evaluation(
    x: Experiment, name: str, asked: Asked, measured: Measured, stage: Stage, baselines: Mapping[str, float]
) -> record.Evaluation:
    """One measurement as the record has it."""
    facts, e = BENCHMARKS[name].facts, x.eval
    return record.Evaluation(
        bench=name,
        bench_version=facts.version,
        split=asked.split,
        twin=asked.source.twin,
        revision=asked.source.revision,
        stage=stage,
        questions=len(asked.questions),
        samples=e.samples,
        decoding=record.Decoding(e.temperature, e.top_p, e.top_k, e.max_tokens, e.seed),
        grader=f"rules v{GRADER_VERSION}",
        prompt=digest([x.prompt.style, *(x.prompt.text(asked.bench, q) for q in asked.questions)]),
        metric="accuracy",
        question_ids=digest(f"{q.id} {q.answer}" for q in asked.questions),
        **outcome(measured, facts.trains_on, baselines),
    )


def _training(context: Context, trained: Trained) -> record.Training:
    x, reports = context.x, trained.reports
    settings = {
        **{
            f"train.{k}": v
            for k, v in settings_of(x.train).items()
            if k not in ("steps", "ramp", "micro_batch", "micro_tokens")
        },
        **{f"sampling.{k}": v for k, v in settings_of(x.sampling).items()},
        **{f"reward.{k}": v for k, v in settings_of(x.reward).items()},
        **({} if x.rollout.engine == "hf" else {"rollout.engine": x.rollout.engine, "rollout.cap": x.rollout.cap}),
        "model.freeze_vision": x.model.freeze_vision,
        **{f"{trained.bench}.{k}": v for k, v in settings_of(benchmark(context.command, trained.bench)).items()},
    }
    counters = {name: sum(getattr(r, name) for r in reports) for name in ("asked", "kept", "refills")}
    curve = tuple({k: round(v, ROUND) for k, v in report.scalars().items()} for report in reports)
    source = trained.source
    return record.Training(
        source=record.TrainedOn(
            trained.bench, BENCHMARKS[trained.bench].facts.version, trained.split, source.twin, source.revision,
            source.rows,
        ),
        steps=x.train.steps,
        settings=settings,
        tokens=sum(r.sampled_tokens for r in reports),
        counters=counters,
        curve=curve,
        weights=_weights(reports),
    )  # fmt: skip


def _weights(reports: Sequence[StepReport]) -> record.Weights:
    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    low, middle, high = (mean([r.weight_quantiles[k] for r in reports]) for k in range(3))
    return record.Weights(
        mean([r.weight_std for r in reports]), mean([r.weight_ess for r in reports]), low, middle, high
    )


def run_record(
    context: Context, evaluations: Sequence[record.Evaluation], trained: Trained | None, seconds: float
) -> record.RunRecord:
    """The whole record of a run; `trained` is None for a model that was measured only."""
    command, x = context.command, context.x
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    shaper = {**settings_of(x.shaper), "ramp": x.train.ramp}
    return record.RunRecord(
        schema=record.SCHEMA,
        contract_version=CONTRACT_VERSION,
        run_id=context.run_id,
        created=context.created,
        command=repeatable(command.words),
        seed=context.seed,
        shaper=record.Piece(command.shaper, shaper) if trained else None,
        base=record.Piece(command.base, settings_of(x.base)) if trained else None,
        gin=x.operative,
        model=record.Model(
            Path(x.model.path).name, context.weights, sum(p.numel() for p in context.policy.parameters())
        ),
        training=_training(context, trained) if trained else None,
        evaluations=tuple(evaluations),
        machine=machine(torch.get_num_threads(), gpu, torch.cuda.device_count() if gpu else 0),
        origin=origin(),
        seconds=round(seconds, 1),
    )
