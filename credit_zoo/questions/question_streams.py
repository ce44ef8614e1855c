"""Where questions come from, by number: a twin's endless stream or a real set in shuffled epochs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from credit_zoo.answers import Frame, Size, span, to_frame
from credit_zoo.errors import UsageError, first_line
from credit_zoo.question import SPLITS, Question, Source, Split, StoredPicture
from credit_zoo.questions.benchmark import Benchmark
from credit_zoo.questions.local_folder import layout_of
from credit_zoo.questions.picture_questions import PictureQuestions
from credit_zoo.questions.pictures import SKIP, BadRow, open_image, picture_size
from credit_zoo.registry import BENCHMARKS
from credit_zoo.twins import Difficulty, Example, Twin

HUB = "hub"  # data=hub
Refusal = Callable[[Question], str | None]  # why a model does not take a question; None if it does


@dataclass(frozen=True)
class DataConfig:
    """Settings of real data and of the twins. `skip_bad` leaves out rows that cannot be asked, and counts them: their
    picture does not decode, a cell is empty, the model does not take them. All pictures are decoded first for it.
    `perception`, `reasoning` and `length` in [0, 1] are the twins' dials of difficulty.
    """

    skip_bad: bool = False  # drop rows that cannot be used, and count them; false: stop and name them
    perception: float = 0.0  # a twin's dial: noise, contrast, stray labels, [0, 1]
    reasoning: float = 0.0  # a twin's dial: steps and range of numbers, [0, 1]
    length: float = 0.0  # a twin's dial: long solutions of 7 or 8 steps above 0, [0, 1]

    @property
    def difficulty(self) -> Difficulty:
        """The twins' dials."""
        return Difficulty(self.perception, self.reasoning, self.length)

    def __post_init__(self) -> None:
        for name in ("perception", "reasoning", "length"):
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
        dials += f"/{self.difficulty.length:g}" if self.difficulty.length else ""
        return Source(self.twin.name, twin=True, revision=f"v{self.twin.version}, {dials}", rows=0)

    def __getitem__(self, index: int) -> Question:
        return self.example(index).question

    def example(self, index: int) -> Example:
        """The question with its worked solution."""
        return self.twin.example(self.split, index, self.difficulty, self.seed)


@dataclass(frozen=True)
class SetQuestions:
    """A real set; training goes through it in epochs, each in an order of its own.

    Pictures that a benchmark gives as paths are opened when they are looked at, relative ones from `folder` on. A
    question that the model does not take is named when it is asked for.
    """

    rows: Sequence[Question]
    source: Source
    shuffle_seed: int | None = None
    folder: Path = Path()
    refusal: Refusal | None = None

    def __getitem__(self, index: int) -> Question:
        question = self.row(self.place(index))
        if self.refusal and (why := self.refusal(question)):
            raise BadRow(f"{question.id}: {why}. {SKIP}")
        return question

    def place(self, index: int) -> int:
        """The row that is asked as question number `index`."""
        epoch, place = divmod(index, len(self.rows))
        if self.shuffle_seed is None:
            return place
        return int(np.random.default_rng([self.shuffle_seed, epoch]).permutation(len(self.rows))[place])

    def row(self, place: int) -> Question:
        """The question in the order of the set, whether or not the model takes it."""
        question = self.rows[place]
        if not isinstance(question.held, (str, Path)):
            return question
        return replace(question, image=StoredPicture(self.folder / question.held, open_image))


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
        size = question.meta.get("size") or shown_size(question)
        if size is None:
            raise UsageError(f"{question.id} asks for a box, but has no picture")
        left, top, right, bottom = map(float, question.answer.split(","))
        seen = self.input_size(size) if self.frame == "resized" else size
        box = to_frame((left, top, right, bottom), size, self.frame, seen)
        # The published rule compares in pixels.
        told = {"frame": self.frame, "span": span(size, self.frame, seen), "pixels": question.answer}
        answer = ",".join(f"{side:.6g}" for side in box)
        return replace(question, image=question.held, answer=answer, meta={**question.meta, **told})


def twin_questions(questions: Questions) -> TwinQuestions:
    """The twin's stream behind questions; raises `UsageError` for a real set, of which nobody knows the truth."""
    inside = questions.questions if isinstance(questions, FramedQuestions) else questions
    if not isinstance(inside, TwinQuestions):
        raise UsageError(f"{questions.source} is a real set: what a token is for is known of a twin's questions alone")
    return inside


def told(questions: Questions, index: int) -> Question:
    """A question without its picture, which is not opened, whether or not the model takes it."""
    if isinstance(questions, FramedQuestions) and isinstance(inside := questions.questions, SetQuestions):
        return replace(questions.framed(inside.row(inside.place(index))), image=None)
    if isinstance(questions, SetQuestions):
        return replace(questions.row(questions.place(index)), image=None)
    return replace(questions[index], image=None)


def check_folder(bench: Benchmark, split: Split, folder: str | None) -> None:
    """Raises a `UsageError` that tells what is accepted if the questions cannot come from there.

    It reads names of files alone: for before a model is loaded. A benchmark that does not tell its `layouts` passes.
    """
    if folder is None:
        _need_twin(bench, split)
    elif folder != HUB and (layouts := getattr(bench, "layouts", ())):
        layout_of(_name(bench), Path(folder), layouts)


def open_questions(
    bench: Benchmark,
    split: Split,
    folder: str | None,
    data: DataConfig,
    seed: int,
    shuffle: bool,
    refusal: Refusal | None = None,
) -> TwinQuestions | SetQuestions:
    """The twin's stream; or the real set where a folder, or "hub", is given.

    With `data.skip_bad` rows that the model does not take are left out and counted.
    """
    if folder is None:
        return TwinQuestions(_need_twin(bench, split), split, data.difficulty, seed)
    try:
        rows, source = bench.load(split, None if folder == HUB else Path(folder), data.skip_bad)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, UsageError):
            raise
        what = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError(f"{_name(bench)} could not read data={folder}, split '{split}': {what}") from error
    if not rows:
        raise UsageError(f"data={folder} has no rows of split '{split}'")
    beside = Path() if folder == HUB else Path(folder)
    found = SetQuestions(rows, replace(source, rows=len(rows)), seed if shuffle else None, beside, refusal)
    return _taken(found, refusal) if refusal and data.skip_bad else found


def shown_size(question: Question) -> Size | None:
    """Width and height of a question's picture, of a stored one without decoding it; None where there is none."""
    held = question.held
    if isinstance(held, StoredPicture) and held.opener is open_image:
        return picture_size(held.source)
    return None if question.image is None else question.image.size


def _need_twin(bench: Benchmark, split: Split) -> Twin:
    if bench.twin is None:
        raise UsageError(f"{type(bench).__name__} has no procedural twin: give data=FOLDER, or data=hub")
    if split not in SPLITS:
        raise UsageError(
            f"the twin of {_name(bench)} has the splits {', '.join(SPLITS)}, not '{split}': give data=FOLDER"
        )
    return bench.twin


def _name(bench: Benchmark) -> str:
    return BENCHMARKS.of(bench).name


def _taken(found: SetQuestions, refusal: Refusal) -> SetQuestions:
    """The questions that the model takes; the others are counted."""
    taken = [at for at in range(len(found.rows)) if refusal(found.row(at)) is None]
    left = len(found.rows) - len(taken)
    if not taken:
        raise UsageError(f"the model takes none of the {left} questions; the first: {refusal(found.row(0))}")
    if not left:
        return found
    rows = found.rows
    kept = rows.only(taken) if isinstance(rows, PictureQuestions) else [rows[at] for at in taken]
    dropped = {**found.source.dropped, "not taken by the model": left}
    return replace(found, rows=kept, source=replace(found.source, rows=len(kept), dropped=dropped))
