"""Where questions come from, by number: a twin's endless stream or a real set in shuffled epochs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from credit_zoo.answers import Frame, Size, span, to_frame
from credit_zoo.question import Question, Source, Split
from credit_zoo.questions.benchmark import Benchmark
from credit_zoo.questions.local_folder import PictureQuestions
from credit_zoo.registry import UsageError
from credit_zoo.twins import Difficulty, Twin

HUB = "hub"  # data=hub


@dataclass(frozen=True)
class DataConfig:
    """Settings of real data and of the twins. `skip_bad` drops rows whose image does not decode, and counts them;
    `perception` and `reasoning` in [0, 1] are the twins' dials of difficulty.
    """

    skip_bad: bool = False
    perception: float = 0.0
    reasoning: float = 0.0

    @property
    def difficulty(self) -> Difficulty:
        """The twins' dials."""
        return Difficulty(self.perception, self.reasoning)

    def __post_init__(self) -> None:
        for name in ("perception", "reasoning"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"data.{name} must be in [0, 1], got {getattr(self, name)!r}")


@runtime_checkable
class Questions(Protocol):
    """Question number `index`, from 0; the same one every time."""

    @property
    def source(self) -> Source: ...

    def __getitem__(self, index: int) -> Question: ...


@dataclass(frozen=True)
class TwinQuestions:
    """The stream of a twin's split; `seed` picks one of many."""

    twin: Twin
    split: Split
    difficulty: Difficulty
    seed: int

    @property
    def source(self) -> Source:
        dials = f"dials {self.difficulty.perception:g}/{self.difficulty.reasoning:g}"
        return Source(self.twin.name, twin=True, revision=f"v{self.twin.version}, {dials}", rows=0)

    def __getitem__(self, index: int) -> Question:
        return self.twin.example(self.split, index, self.difficulty, self.seed).question


@dataclass(frozen=True)
class SetQuestions:
    """A real set; training goes through it in epochs, each in an order of its own."""

    rows: Sequence[Question]
    source: Source
    shuffle_seed: int | None = None

    def __getitem__(self, index: int) -> Question:
        return self.rows[self.place(index)]

    def place(self, index: int) -> int:
        """The row that is asked as question number `index`."""
        epoch, place = divmod(index, len(self.rows))
        if self.shuffle_seed is None:
            return place
        return int(np.random.default_rng([self.shuffle_seed, epoch]).permutation(len(self.rows))[place])


@dataclass(frozen=True)
class FramedQuestions:
    """Questions whose true boxes are told in the numbers that a model speaks; `input_size` is the (width, height) at
    which it sees a picture of a size. A twin's boxes stay in the cells that its prompts and solutions count in.
    """

    questions: Questions
    frame: Frame
    input_size: Callable[[Size], Size]

    @property
    def source(self) -> Source:
        return self.questions.source

    def __getitem__(self, index: int) -> Question:
        return self.framed(self.questions[index])

    def framed(self, question: Question) -> Question:
        """The question with its true box in the model's numbers."""
        if question.kind != "box" or self.frame == "pixels" or self.source.twin:
            return question
        size = question.meta["size"]
        left, top, right, bottom = map(float, question.answer.split(","))
        seen = self.input_size(size) if self.frame == "resized" else size
        box = to_frame((left, top, right, bottom), size, self.frame, seen)
        # The published rule compares in pixels.
        told = {"frame": self.frame, "span": span(size, self.frame, seen), "pixels": question.answer}
        answer = ",".join(f"{side:.6g}" for side in box)
        return replace(question, answer=answer, meta={**question.meta, **told})


def told(questions: Questions, index: int) -> Question:
    """A question without its picture, which is not opened where the set keeps it as a file."""
    if isinstance(questions, FramedQuestions):
        return questions.framed(told(questions.questions, index))
    if isinstance(questions, SetQuestions) and isinstance(questions.rows, PictureQuestions):
        return questions.rows.questions[questions.place(index)]
    return replace(questions[index], image=None)


def open_questions(
    bench: Benchmark, split: Split, folder: str | None, data: DataConfig, seed: int, shuffle: bool
) -> TwinQuestions | SetQuestions:
    """The twin's stream; or the real set where a folder, or "hub", is given."""
    if folder is None:
        if bench.twin is None:
            raise UsageError(f"{type(bench).__name__} has no procedural twin: give data=FOLDER, or data=hub")
        return TwinQuestions(bench.twin, split, data.difficulty, seed)
    rows, source = bench.load(split, None if folder == HUB else Path(folder), data.skip_bad)
    if not rows:
        raise UsageError(f"data={folder} has no rows of split '{split}'")
    return SetQuestions(rows, replace(source, rows=len(rows)), seed if shuffle else None)
