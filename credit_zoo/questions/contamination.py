"""Whether what is trained on is measured as well: the same ids, or the same pictures, in both sets."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from credit_zoo.question import Question, StoredPicture
from credit_zoo.questions.question_streams import FramedQuestions, Questions, SetQuestions


def overlap_warning(training: Questions, name: str, measured: Sequence[Question]) -> str | None:
    """A warning if questions that are measured have an id or a picture of the training set; None if none has.

    Twins have splits that share nothing, by construction. Files are compared by content where they have one size,
    pictures in memory by their pixels, and those inside a set's own files by place.
    """
    while isinstance(training, FramedQuestions):
        training = training.questions
    if not isinstance(training, SetQuestions):
        return None
    ids = {question.id for question in training.rows}
    same_id = sum(question.id in ids for question in measured)
    known = {_size(question) for question in measured} - {None}
    seen = set(_keys((training.row(at) for at in range(len(training.rows))), known))
    same_picture = sum(any(key in seen for key in _keys([question], known)) for question in measured)
    if not same_id and not same_picture:
        return None
    return (
        f"warning {name}: of the {len(measured)} questions that are measured, {same_id} have an id and {same_picture} "
        f"have a picture of the training set ({training.source}): the score is no test of what was learned"
    )


def _source(question: Question) -> Any:
    """The file, the place inside a file, or the picture itself."""
    return question.held.source if isinstance(question.held, StoredPicture) else question.held


def _size(question: Question) -> object:
    """What pictures that are the same have in common, at no cost: a file's bytes, a place, the sides in pixels."""
    source = _source(question)
    if isinstance(source, Path):
        return source.stat().st_size if source.is_file() else None
    return source.size if isinstance(source, Image) else source


def _keys(questions: Iterable[Question], known: set[object]) -> Iterable[object]:
    """What tells the pictures of one of the known sizes apart."""
    for question in questions:
        source, size = _source(question), _size(question)
        if size is not None and size in known:
            content = source.read_bytes() if isinstance(source, Path) else None
            content = source.tobytes() if isinstance(source, Image) else content
            yield source if content is None else hashlib.sha256(content).digest()
