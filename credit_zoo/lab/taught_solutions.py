"""What the warm start is taught: its settings, and encoded batches of worked solutions, drawn by step."""

import importlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch.utils.data import Dataset

from credit_zoo.errors import UsageError, check_range
from credit_zoo.policy import Encoder, words_of
from credit_zoo.questions import short_text
from credit_zoo.twins import Difficulty, ErrorWriter, Freedom, HabitWriter, SolutionWriter, Span, Twin

# The settings that lie in [0, 1].
SHARES = (
    *("perception_errors", "reasoning_errors", "perception_habits", "reasoning_habits"),
    *("free_order", "free_names", "length"),
)


@dataclass(frozen=True)
class Pretrain:
    """Settings of the warm start. `mixture` weighs the twins; lengths are padded tokens."""

    out: str = "credit_zoo/policy/small"  # folder of the checkpoint
    work: str = "runs/pretrain"  # folder to go on from
    mixture: str = "refcoco:5,geometry3k:4,puzzles:4,mathvista:2,lisa_grounding:1"  # twins with their weights
    vocabulary: str = "geometry3k,mathvista,puzzles,refcoco,lisa_grounding"  # twins whose words the tokenizer knows
    steps: int = 2400  # in all
    error_steps: int = 200  # the last ones, on solutions with errors
    perception_errors: float = 0.35  # chance of a misread value in a solution, [0, 1]
    reasoning_errors: float = 0.35  # chance of a wrong result in a solution, [0, 1]
    mistakes: Literal["errors", "habits"] = "errors"  # what the last steps hold: noise, or systematic mistakes
    perception_habits: float = 0.75  # share of solutions that follow the habits of reading, [0, 1]
    reasoning_habits: float = 0.75  # share of solutions that follow the habit of reasoning, [0, 1]
    free_order: float = 0.5  # chance under habits that readings side by side are shuffled, [0, 1]
    free_names: float = 0.5  # chance under habits that a result has any name, [0, 1]
    remarks: int = 2  # remarks in a solution under habits, of which nothing depends
    start: str = "nothing"  # a checkpoint to tune: small, or a folder; nothing: random weights
    length: float = 0.0  # the twins' dial of long solutions, [0, 1]
    batch: int = 64  # solutions a step
    lr: float = 2e-3  # learning rate at its highest
    error_lr: float = 5e-4  # learning rate where the errors begin
    weight_decay: float = 0.05  # per step and unit of the rate
    seed: int = 0  # of weights and data
    save_every: int = 250  # steps between checkpoints
    workers: int = 1  # processes that draw solutions ahead of the training; 0: this one draws them itself
    response_length: int = 56  # tokens, padding included
    test_questions: int = 400  # asked of each twin at the end

    def __post_init__(self) -> None:
        for name in SHARES:
            check_range(f"pretrain.{name}", getattr(self, name), 0, 1)
        check_range("pretrain.remarks", self.remarks, 0)
        check_range("pretrain.workers", self.workers, 0)
        check_range("pretrain.error_steps", self.error_steps, 0, self.steps)
        if self.mistakes not in ("errors", "habits"):
            raise UsageError(f"pretrain.mistakes must be errors or habits, got {self.mistakes!r}")

    def writer(self, rng: np.random.Generator, step: int) -> SolutionWriter:
        """Who writes a solution of a step."""
        if step < self.steps - self.error_steps:
            return SolutionWriter()
        if self.mistakes == "errors":
            return ErrorWriter(rng, self.perception_errors, self.reasoning_errors)
        freedom = Freedom(self.free_order, self.free_names, self.remarks)
        return HabitWriter(rng, self.perception_habits, self.reasoning_habits, freedom)

    def shares(self) -> dict[str, float]:
        """The twins and their shares of a batch, which add up to 1."""
        pairs = [part.split(":") for part in self.mixture.split(",")]
        whole = sum(float(weight) for _, weight in pairs)
        return {name: float(weight) / whole for name, weight in pairs}

    def learning_rate(self, step: int) -> float:
        """Warm-up over 100 steps, cosine from `lr` to `error_lr`, then linear to a tenth of it."""
        clean = self.steps - self.error_steps
        if step < clean:
            cosine = 0.5 * (1 + math.cos(math.pi * step / clean))
            return min(1.0, (step + 1) / 100) * (self.error_lr + (self.lr - self.error_lr) * cosine)
        return self.error_lr * (1 - 0.9 * (step - clean) / self.error_steps)


class Solutions(Dataset[dict[str, Any]]):
    """Encoded batches of worked solutions, the same for the same settings and step."""

    def __init__(self, settings: Pretrain, encoder: Encoder, first_step: int) -> None:
        self.settings, self.encoder, self.first_step = settings, encoder, first_step
        self.twins = [load_twin(name) for name in settings.shares()]

    def __len__(self) -> int:
        return self.settings.steps - self.first_step

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.batch(self.first_step + index)

    def batch(self, step: int) -> dict[str, Any]:
        """The tensors of one step."""
        s = self.settings
        rng = np.random.default_rng([s.seed, step])
        prompts, solutions = [], []
        for k, choice in enumerate(rng.choice(len(self.twins), size=s.batch, p=list(s.shares().values()))):
            twin = self.twins[choice]
            example = twin.example("train", step * s.batch + k, Difficulty(length=s.length), s.seed)
            prompts.append((example.question.image, short_text(example.question)))
            solutions.append(self._fitting(twin.solution(example, s.writer(rng, step)), example.solution))
        encoded = self.encoder.prompts(prompts)
        ids, mask = self.encoder.responses(solutions, s.response_length)
        return {"ids": encoded.ids, "mask": encoded.mask, "vision": encoded.vision, "response": ids, "sampled": mask}

    def _fitting(self, spans: Sequence[Span], clean: Sequence[Span]) -> str:
        """A solution as text; one that its errors made too long gives way to the clean one."""
        texts = ["".join(span.text for span in version) for version in (spans, clean)]
        return next(t for t in texts if self.encoder.responses([t])[1].sum() <= self.settings.response_length)


def load_twin(name: str) -> Twin:
    """The twin of `credit_zoo/twins/<name>.py`."""
    twin: Twin = importlib.import_module(f"credit_zoo.twins.{name}").TWIN
    return twin


def vocabulary(names: Iterable[str], examples: int = 400) -> list[str]:
    """The words that the twins use, over both ends of both dials."""
    texts: list[str] = []
    for name in names:
        twin = load_twin(name)
        for index in range(examples):
            example = twin.example("train", index, Difficulty(index % 2, index // 2 % 2), seed=1)
            texts.append(short_text(example.question) + " ")
            texts.append("".join(span.text for span in example.solution))
    return words_of(texts)
