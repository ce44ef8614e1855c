"""What one run works with, and what it writes down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from credit_zoo import CONTRACT_VERSION, LOOP_VERSION
from credit_zoo.cli import Command
from credit_zoo.evaluation import EvalResult, evaluation_fields
from credit_zoo.experiment.config import ExperimentConfig, benchmark, settings_of
from credit_zoo.experiment.setting_roles import GRADER, base_code, bench_code, deciding, shaper_code
from credit_zoo.policy import Policy, encoder_digest
from credit_zoo.question import Question, Source, Split
from credit_zoo.questions import Benchmark, OpenedOnUse
from credit_zoo.registry import BENCHMARKS
from credit_zoo.results import digest, machine, origin, record, repeatable
from credit_zoo.rollout import ProcessGroup, RolloutEngine
from credit_zoo.training import StepReport

ROUND = 5  # decimals of the curve
Stage = Literal["before", "after"]
_ELSEWHERE = ("train.steps", "train.shaper_schedule")  # with the budget and with the rule


@dataclass(frozen=True)
class RunContext:
    """What one run works with."""

    command: Command
    config: ExperimentConfig
    seed: int
    run_id: str
    created: str
    accelerator: Accelerator
    policy: Policy
    weights: str  # digest of the weights that the run starts from
    sampler: RolloutEngine | None = None  # who samples in the policy's place
    supersedes: tuple[str, ...] = ()  # ids of the recorded runs whose place this one takes

    @property
    def folder(self) -> Path:
        """Checkpoints, logs and nothing that must be kept."""
        return Path(self.command.out) / f"{self.run_id}-{self._title}"

    @property
    def _title(self) -> str:
        """What is run, for people who look at the folder."""
        benches = "+".join(self.command.bench)
        if self.command.eval_only:
            return f"{benches}-eval"
        return f"{benches}-{self.command.base}-{self.command.shaper}-seed{self.seed}"

    @property
    def processes(self) -> ProcessGroup:
        """The processes that run this together."""
        return ProcessGroup(self.accelerator.process_index, self.accelerator.num_processes, gather_object)

    def log(self, text: str) -> None:
        """Prints once, whatever the number of processes."""
        if self.accelerator.is_main_process:
            print(text, flush=True)


@dataclass(frozen=True)
class EvalSet:
    """The questions that a benchmark is measured on."""

    bench: Benchmark
    asked: OpenedOnUse
    source: Source
    split: Split

    @property
    def questions(self) -> Sequence[Question]:
        """The questions without their pictures."""
        return self.asked.told


@dataclass(frozen=True)
class TrainingSummary:
    """What was trained on, and a report of every step."""

    source: Source
    bench: str
    split: str
    reports: tuple[StepReport, ...]


def evaluation(
    config: ExperimentConfig,
    name: str,
    asked: EvalSet,
    measured: EvalResult,
    stage: Stage,
    baselines: Mapping[str, float],
    temperatures: Mapping[str, float],
) -> record.Evaluation:
    """One measurement as the record has it."""
    found = evaluation_fields(measured, BENCHMARKS[name].facts.trains_on, baselines, temperatures)
    return record.Evaluation(stage=stage, **measure_of(config, name, asked), **found)


def measure_of(config: ExperimentConfig, name: str, asked: EvalSet) -> dict[str, Any]:
    """What is measured: the fields of a record's evaluation that two must share to be compared (`MEASURE`)."""
    e = config.eval
    return {
        "bench": name,
        "bench_version": BENCHMARKS[name].facts.version,
        "split": asked.split,
        "twin": asked.source.twin,
        "revision": asked.source.revision,
        "questions": len(asked.questions),
        "samples": e.samples,
        "decoding": record.Decoding(e.temperature, e.top_p, e.top_k, e.max_tokens, e.seed),
        "grader": GRADER,
        "prompt": digest([config.prompt.style, *(config.prompt.text(asked.bench, q) for q in asked.questions)]),
        "metric": "accuracy",
        "question_ids": digest(f"{q.id} {q.answer}" for q in asked.questions),
        "code": bench_code(name),
        "settings": settings_of(asked.bench),
    }


def identity(context: RunContext) -> record.Identity:
    """What decides the run's numbers and is neither rule, base, weights nor questions."""
    config = context.config
    return record.Identity(
        loop_version=LOOP_VERSION,
        grader=GRADER,
        dtype=config.model.dtype,
        encoder=encoder_digest(context.policy.encoder),
        settings=deciding(config, "model", "prompt", "data", "rollout"),
    )


def _training(context: RunContext, trained: TrainingSummary) -> record.Training:
    reports = trained.reports
    names = ("sampled_prompts", "kept_prompts", "kept_tokens", "trained_tokens", "resampling_rounds")
    return record.Training(
        source=training_source(trained.bench, trained.split, trained.source),
        steps=context.config.train.steps,
        settings=training_settings(context, trained.bench),
        tokens=sum(report.sampled_tokens for report in reports),
        counters={name: sum(getattr(report, name) for report in reports) for name in names},
        curve=tuple({k: round(v, ROUND) for k, v in report.scalars().items()} for report in reports),
        weights=_weights(reports),
        agreement=_agreement(reports),
    )


def training_source(bench: str, split: str, source: Source) -> record.TrainingSource:
    """The questions that a run trains on, as the record has them."""
    version, code = BENCHMARKS[bench].facts.version, bench_code(bench)
    return record.TrainingSource(bench, version, split, source.twin, source.revision, source.rows, code)


def training_settings(context: RunContext, bench: str) -> dict[str, Any]:
    """The settings of the loop, which are the same for every rule."""
    found = deciding(context.config, "train", "sampling", "reward")
    own = settings_of(benchmark(context.command, bench))
    kept = {name: value for name, value in found.items() if name not in _ELSEWHERE}
    return {**kept, **{f"{bench}.{key}": value for key, value in own.items()}}


def rule_piece(context: RunContext) -> record.Piece:
    """The rule with its settings and the digest of its code."""
    command, config = context.command, context.config
    settings = {**settings_of(config.shaper), "shaper_schedule": config.train.shaper_schedule}
    return record.Piece(command.shaper, settings, shaper_code(command.shaper))


def base_piece(context: RunContext) -> record.Piece:
    """The base, likewise."""
    return record.Piece(context.command.base, settings_of(context.config.base), base_code(context.config))


def start_model(context: RunContext) -> record.Model:
    """The policy that the run starts from."""
    parameters = sum(p.numel() for p in context.policy.parameters())
    return record.Model(Path(context.config.model.path).name, context.weights, parameters)


def _weights(reports: Sequence[StepReport]) -> record.Weights:
    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    low, middle, high = (mean([r.weight_quantiles[k] for r in reports]) for k in range(3))
    std, ess, gini, same = (
        mean([getattr(r, f"weight_{name}") for r in reports]) for name in ("std", "ess", "gini", "same_sign")
    )
    return record.Weights(std, ess, low, middle, high, gini, same)


def _agreement(reports: Sequence[StepReport]) -> dict[str, float]:
    """Means over the steps that measured a pair."""
    names = {name: None for report in reports for name in report.agreement}
    found = {name: [r.agreement[name] for r in reports if name in r.agreement] for name in names}
    return {name: round(sum(values) / len(values), ROUND) for name, values in found.items()}


def run_record(
    context: RunContext, evaluations: Sequence[record.Evaluation], trained: TrainingSummary | None, seconds: float
) -> record.RunRecord:
    """The whole record of a run; `trained` is None for a model that was measured only."""
    command, config = context.command, context.config
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return record.RunRecord(
        schema=record.SCHEMA,
        contract_version=CONTRACT_VERSION,
        run_id=context.run_id,
        created=context.created,
        command=repeatable(command.arguments),
        seed=context.seed,
        shaper=rule_piece(context) if trained else None,
        base=base_piece(context) if trained else None,
        gin=config.gin_text,
        model=start_model(context),
        training=_training(context, trained) if trained else None,
        evaluations=tuple(evaluations),
        machine=machine(torch.get_num_threads(), gpu, torch.cuda.device_count() if gpu else 0),
        origin=origin(),
        seconds=round(seconds, 1),
        identity=identity(context),
        supersedes=context.supersedes,
    )
