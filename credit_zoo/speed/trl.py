"""Ours against TRL's `GRPOTrainer` on the same work: model, questions, group size, lengths, micro-batch, updates.

TRL trains through its own `train()`; after each of its steps ours does one. Both sample exactly `tokens` tokens for
each response, reward them by the benchmark's score, and leave the vision tower frozen. The first steps are not counted.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from credit_zoo.errors import UsageError
from credit_zoo.policy import SMALL_MODEL, ModelConfig, Policy, joint_processor
from credit_zoo.questions import DataConfig, PromptConfig, TwinQuestions, short_text
from credit_zoo.registry import BENCHMARKS
from credit_zoo.speed.meter import Counter, Spread, allocated
from credit_zoo.speed.workload import Work, trainers, training_step
from credit_zoo.training import Trainer

WARM = 2  # steps that are not counted


def trl(work: Work) -> dict[str, Any]:
    """Seconds of sampling and training of both, their ratios, and peak bytes of a training step and of a whole one."""
    if work.model != "small":
        raise UsageError(f"TRL is compared on questions, which need model=small, got model={work.model}")
    bench = BENCHMARKS["geometry3k"].factory()
    questions = TwinQuestions(bench.twin, "train", DataConfig().difficulty, 0)
    policy = Policy.load(ModelConfig())
    policy.encoder = replace(policy.encoder, stops=(len(policy.encoder.tokenizer),))  # nothing ends a response
    (ours,) = trainers({"ours": (policy, "uniform")}, work).values()
    worker = replace(ours.collector.worker, bench=bench, prompting=PromptConfig("short"))
    ours = replace(ours, collector=replace(ours.collector, worker=worker))
    log = _Log(ours, questions)
    _train_theirs(work, [questions[k] for k in range(work.prompts * (work.repeats + WARM + 2))], bench, log)
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
    }


class _Log:
    """Takes turns with TRL and notes both."""

    def __init__(self, ours: Trainer, questions: TwinQuestions) -> None:
        self.trainer, self.questions = ours, questions
        self.theirs: list[tuple[float, float]] = []
        self.ours: list[tuple[float, float]] = []
        self.peaks: dict[str, dict[str, Any]] = {"training": {}, "whole": {}}
        self.prompt_tokens = 0

    def step(self) -> None:
        """One step of ours."""
        started = time.perf_counter()
        drawn = self.trainer.collector(self.questions, len(self.ours) * self.trainer.train.prompts, 0)
        sampled = time.perf_counter()
        training_step(self.trainer, drawn.batch)
        self.ours.append((sampled - started, time.perf_counter() - sampled))
        self.prompt_tokens = drawn.batch.prompts.ids.shape[1]

    def measure(self) -> None:
        """The bytes of one step of ours."""
        drawn = self.trainer.collector(self.questions, 0, 0)
        self.peaks["training"]["ours"] = asdict(allocated(lambda: training_step(self.trainer, drawn.batch)))

        def whole() -> None:
            training_step(self.trainer, self.trainer.collector(self.questions, 0, 0).batch)

        self.peaks["whole"]["ours"] = asdict(allocated(whole))


def _train_theirs(work: Work, questions: Sequence[Any], bench: Any, log: _Log) -> None:
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    steps = work.repeats + WARM
    counter = Counter()

    class Timed(GRPOTrainer):  # type: ignore[misc]
        """Knows how long sampling took."""

        sampling = 0.0

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            started = time.perf_counter()
            found = super()._generate_and_score_completions(inputs)
            self.sampling = time.perf_counter() - started
            if self.state.global_step == steps:
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
        return [bench.score(questions[k], text).correct for k, text in zip(number, texts, strict=True)]

    tokenizer = log.trainer.policy.encoder.tokenizer
    tokenizer.padding_side = "left"  # or TRL's types of tokens stand beside its tokens
    kind = PROCESSOR_MAPPING[type(AutoConfig.from_pretrained(SMALL_MODEL))]
    model = AutoModelForImageTextToText.from_pretrained(SMALL_MODEL, dtype=torch.float32, use_safetensors=True)
    Policy(model, log.trainer.policy.encoder, ModelConfig())  # freezes the vision tower
    rows = [
        {"prompt": [{"role": "user", "content": short_text(q)}], "image": q.image, "number": k}
        for k, q in enumerate(questions)
    ]
    with tempfile.TemporaryDirectory() as folder:
        theirs = Timed(
            model=model,
            reward_funcs=reward,
            args=GRPOConfig(**_arguments(work, folder, steps + 2)),
            train_dataset=Dataset.from_list(rows),
            processing_class=joint_processor(kind, str(SMALL_MODEL), tokenizer),
            callbacks=[Turns()],
        )
        theirs.train()
    log.measure()


def _arguments(work: Work, folder: str, steps: int) -> dict[str, Any]:
    return {
        "output_dir": str(Path(folder)),
        "max_steps": steps,
        "per_device_train_batch_size": work.micro_batch,
        "gradient_accumulation_steps": work.prompts * work.group // work.micro_batch,
        "num_generations": work.group,
        "max_completion_length": work.tokens,
        "generation_kwargs": {"min_new_tokens": work.tokens},
        "gradient_checkpointing": work.checkpointing,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": False,
        "beta": 0.0,
        "learning_rate": 1e-6,
        "loss_type": "grpo",
        "shuffle_dataset": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 10_000,
    }
