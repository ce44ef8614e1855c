"""Ours against TRL's `GRPOTrainer` on the same work: model, questions, group size, lengths, micro-batch, updates.

TRL trains through its own `train()`; after each of its steps ours does one. Both leave the vision tower frozen. `trl`
compares steps of one size: exactly `tokens` tokens for each response, right or wrong by lot, so that hardly a group is
without an advantage; the first steps are not counted. `whole_run` compares all steps of a default run from the warm
start on, in which both learn from the benchmark's score: responses end where they end, and groups whose answers are
all right or all wrong become as many as they become.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from credit_zoo.errors import UsageError
from credit_zoo.policy import SMALL_MODEL, ModelConfig, Policy, joint_processor
from credit_zoo.question import Question, Score
from credit_zoo.questions import DataConfig, PromptConfig, TwinQuestions, short_text
from credit_zoo.registry import BENCHMARKS
from credit_zoo.speed.meter import Counter, Spread, allocated
from credit_zoo.speed.workload import Work, trainers, training_step
from credit_zoo.training import Trainer

WARM = 2  # steps that are not counted
MEASURED = 2  # more steps, whose memory is counted
# Of a default run of the small model (configs/model/small.gin).
RATE, LONGEST = 6e-5, 56


def trl(work: Work) -> dict[str, Any]:
    """Seconds of sampling and training of both, their ratios, and peak bytes of a training step and of a whole one."""
    if work.model != "small":
        raise UsageError(f"TRL is compared on questions, which need model=small, got model={work.model}")
    bench = BENCHMARKS["geometry3k"].factory()
    questions = TwinQuestions(bench.twin, "train", DataConfig().difficulty, 0)
    policy = Policy.load(ModelConfig())
    policy.encoder = replace(policy.encoder, stops=(len(policy.encoder.tokenizer),))  # nothing ends a response
    lot = _Lot(bench)
    log = _Log(_ours(policy, lot, work), questions, Taken(work.repeats + WARM))
    _train_theirs(work, lot, log)
    counted = slice(WARM, WARM + work.repeats)
    theirs, mine = log.theirs[counted], log.ours[counted]
    return {
        "seconds": {
            name: asdict(Spread.of([pair[at] for pair in found]))
            for at, part in enumerate(("sampling", "training"))
            for name, found in ((f"TRL, {part}", theirs), (f"ours, {part}", mine))
        },
        "training": asdict(Spread.of([a[1] / b[1] for a, b in zip(theirs, mine, strict=True)])),
        "whole": asdict(Spread.of([sum(a) / sum(b) for a, b in zip(theirs, mine, strict=True)])),
        "peak": log.peaks,
        "prompt_tokens": log.prompt_tokens,
        "read": sum(read for read, _ in log.read[counted]) / sum(kept for _, kept in log.read[counted]),
    }


def whole_run(work: Work) -> dict[str, Any]:
    """Seconds of sampling and training of both over a whole run, their ratios, what of the responses ours read with a
    gradient, and the accuracy of both, in tenths of the run.
    """
    if work.model != "small":
        raise UsageError(f"a whole run is one of model=small, got model={work.model}")
    bench = BENCHMARKS["geometry3k"].factory()
    questions = TwinQuestions(bench.twin, "train", DataConfig().difficulty, 0)
    run = replace(work, tokens=LONGEST)
    log = _Log(_ours(Policy.load(ModelConfig()), bench, run), questions, Taken(work.steps, RATE, ends=True))
    _train_theirs(run, bench, log)
    sums = {
        f"{who}, {part}": sum(pair[at] for pair in found)
        for at, part in enumerate(("sampling", "training"))
        for who, found in (("TRL", log.theirs), ("ours", log.ours))
    }
    tenth = max(1, work.steps // 10)
    return {
        "seconds": sums,
        "training": sums["TRL, training"] / sums["ours, training"],
        "whole": (sums["TRL, training"] + sums["TRL, sampling"]) / (sums["ours, training"] + sums["ours, sampling"]),
        "read": sum(read for read, _ in log.read) / sum(kept for _, kept in log.read),
        "tenths": [
            {
                "read": sum(read for read, _ in log.read[at : at + tenth])
                / sum(kept for _, kept in log.read[at : at + tenth]),
                "training": sum(b for _, b in log.theirs[at : at + tenth])
                / sum(b for _, b in log.ours[at : at + tenth]),
                "accuracy": {
                    "ours": sum(log.right[at : at + tenth]) / len(log.right[at : at + tenth]),
                    "TRL": sum(log.their_right[at : at + tenth]) / len(log.their_right[at : at + tenth]),
                },
            }
            for at in range(0, work.steps, tenth)
        ],
    }


@dataclass(frozen=True)
class _Lot:
    """A benchmark whose answers are right by lot: by their text."""

    bench: Any

    def score(self, question: Question, response: str) -> Score:
        return Score(float(crc32(response.encode()) % 2), None, False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bench, name)


@dataclass(frozen=True)
class Taken:
    """The steps that both take, at a learning `rate`; with `ends` responses end where they end."""

    steps: int
    rate: float = 1e-6
    ends: bool = False


def _ours(policy: Policy, bench: Any, work: Work) -> Trainer:
    (ours,) = trainers({"ours": (policy, "uniform")}, work).values()
    worker = replace(ours.collector.worker, bench=bench, prompting=PromptConfig("short"))
    return replace(ours, collector=replace(ours.collector, worker=worker))


class _Log:
    """Takes turns with TRL and notes both."""

    def __init__(self, ours: Trainer, questions: TwinQuestions, taken: Taken) -> None:
        self.trainer, self.questions, self.taken = ours, questions, taken
        self.read: list[tuple[float, float]] = []  # response tokens that a step of ours read with a gradient, and all
        self.right: list[float] = []  # mean score of a step of ours
        self.their_right: list[float] = []
        self.theirs: list[tuple[float, float]] = []
        self.ours: list[tuple[float, float]] = []
        self.peaks: dict[str, dict[str, Any]] = {"training": {}, "whole": {}}
        self.prompt_tokens = 0

    def step(self) -> None:
        """One step of ours."""
        started = time.perf_counter()
        drawn = self.trainer.collector(self.questions, len(self.ours) * self.trainer.train.prompts, 0)
        sampled = time.perf_counter()
        found = training_step(self.trainer, drawn.batch, self.taken.rate)
        self.ours.append((sampled - started, time.perf_counter() - sampled))
        self.read.append((found.trained_tokens, found.stats.tokens))
        self.right.append(float(drawn.batch.correct.mean()))
        self.prompt_tokens = drawn.batch.prompts.ids.shape[1]

    def measure(self) -> None:
        """The bytes of one step of ours."""
        drawn = self.trainer.collector(self.questions, 0, 0)
        self.peaks["training"]["ours"] = asdict(allocated(lambda: training_step(self.trainer, drawn.batch)))

        def whole() -> None:
            training_step(self.trainer, self.trainer.collector(self.questions, 0, 0).batch)

        self.peaks["whole"]["ours"] = asdict(allocated(whole))


def _train_theirs(work: Work, bench: Any, log: _Log) -> None:
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    steps, measured = log.taken.steps, 0 if log.taken.ends else MEASURED
    questions = [log.questions[k] for k in range(work.prompts * (steps + measured))]
    counter = Counter()

    class Timed(GRPOTrainer):  # type: ignore[misc]
        """Knows how long sampling took."""

        sampling = 0.0

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            started = time.perf_counter()
            found = super()._generate_and_score_completions(inputs)
            self.sampling = time.perf_counter() - started
            if measured and self.state.global_step == steps:
                counter.start()
            return found

    class Turns(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == steps + 1:
                counter.start()
            self.started = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            taken = time.perf_counter() - self.started
            if state.global_step <= steps:
                log.theirs.append((theirs.sampling, taken - theirs.sampling))
                log.step()
            else:
                log.peaks["training" if state.global_step == steps + 1 else "whole"]["TRL"] = asdict(counter.stop())

    def reward(completions: Any, number: Sequence[int], **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        scores = [bench.score(questions[k], text) for k, text in zip(number, texts, strict=True)]
        log.their_right.append(sum(score.correct for score in scores) / len(scores))
        return [log.trainer.collector.reward.total(score) for score in scores]

    model, processor = _their_model(log)
    rows = [
        {"prompt": [{"role": "user", "content": short_text(q)}], "image": q.image, "number": k}
        for k, q in enumerate(questions)
    ]
    with tempfile.TemporaryDirectory() as folder:
        theirs = Timed(
            model=model,
            reward_funcs=reward,
            args=GRPOConfig(**_arguments(work, folder, log.taken, steps + measured)),
            train_dataset=Dataset.from_list(rows),
            processing_class=processor,
            callbacks=[Turns()],
        )
        theirs.train()
    if measured:
        log.measure()


def _their_model(log: _Log) -> tuple[Any, Any]:
    """The small model with its vision tower frozen, and its processor."""
    tokenizer = log.trainer.policy.encoder.tokenizer
    tokenizer.padding_side = "left"  # or TRL's types of tokens stand beside its tokens
    kind = PROCESSOR_MAPPING[type(AutoConfig.from_pretrained(SMALL_MODEL))]
    model = AutoModelForImageTextToText.from_pretrained(SMALL_MODEL, dtype=torch.float32, use_safetensors=True)
    Policy(model, log.trainer.policy.encoder, ModelConfig())
    return model, joint_processor(kind, str(SMALL_MODEL), tokenizer)


def _arguments(work: Work, folder: str, taken: Taken, steps: int) -> dict[str, Any]:
    return {
        "output_dir": str(Path(folder)),
        "max_steps": steps,
        "per_device_train_batch_size": work.micro_batch,
        "gradient_accumulation_steps": work.prompts * work.group // work.micro_batch,
        "num_generations": work.group,
        "max_completion_length": work.tokens,
        "generation_kwargs": {} if taken.ends else {"min_new_tokens": work.tokens},
        "gradient_checkpointing": work.checkpointing,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": False,
        "beta": 0.0,
        "learning_rate": taken.rate,
        "lr_scheduler_type": "constant",
        "loss_type": "grpo",
        "shuffle_dataset": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 10_000,
    }
