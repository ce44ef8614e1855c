"""Sampled answers of a twin with the credit that every rule gives their tokens, as they are kept in a small file."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from credit_zoo.credit import is_shuffle
from credit_zoo.errors import check_schema
from credit_zoo.results import CorruptRecord, Origin, atomic_write, plain

SCHEMA = 1
BINS = 10  # of a response's length
KINDS = ("read", "derived", "filler", "no role", "first error")  # of tokens; the last beside its role
Numbers = tuple[float, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """One sampled response of T tokens. `score` in [0, 1]; `advantage` its A; `mistake` the kind of its first error,
    "" without one; `value` the chance of the right answer before its first token, and `truth` what each token changed
    in it (A*); `role` of each token, "" for none; `error` marks the first error; `credit` is
    A[t] by the names of rules.
    """

    tokens: tuple[str, ...]
    score: float
    extracted: str
    mistake: str
    advantage: float
    value: float
    truth: Numbers
    role: tuple[str, ...]
    error: tuple[bool, ...]
    credit: Mapping[str, Numbers]


@dataclass(frozen=True)
class Asked:
    """One question; `picture` is a PNG as base64, `solution` the twin's own."""

    number: int
    category: str
    text: str
    choices: tuple[str, ...]
    truth: str
    solution: str
    picture: str
    right: int  # of the group's answers
    group: int
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Profile:
    """The weights W = A[b,t] / A[b] of a rule over all tokens of responses that have an advantage: mean and quartiles
    in each tenth of the response, and the mean over the tokens of each kind (None without any).
    """

    mean: Numbers
    low: Numbers
    high: Numbers
    kinds: Mapping[str, float | None]


@dataclass(frozen=True)
class Examples:
    """What was sampled and measured once. `weights` is the digest of the policy's weights, `files` that of the files
    that hold them, "" for a policy from the hub. `rules` maps a name to the digest of its code; `agreement` `[R, R]` is
    of those that are no shuffles: the mean over responses of Spearman's correlation of the credit of two rules, 0 where
    either is constant. `values` says how A* was told.
    """

    schema: int
    created: str
    command: tuple[str, ...]
    bench: str
    model: str
    weights: str
    files: str
    responses: int
    accuracy: float
    live: int  # responses with an advantage
    rules: Mapping[str, str]
    questions: tuple[Asked, ...]
    profiles: Mapping[str, Profile]
    agreement: tuple[Numbers, ...]
    tokens: Mapping[str, int]  # of each kind
    values: str
    origin: Origin

    def __post_init__(self) -> None:
        check_schema(self.schema, SCHEMA)

    @property
    def compared(self) -> tuple[str, ...]:
        """The rules of `agreement`."""
        return tuple(name for name in self.rules if not is_shuffle(name))

    def lacks(self, rules: Mapping[str, str], questions: int, files: str) -> str:
        """What of these rules, by their digests, and questions is not kept here; "" where all is."""
        if files != self.files:
            return "other weights"
        if len(self.questions) < questions:
            return f"{questions} questions are asked for, {len(self.questions)} are kept"
        missing = [name for name in rules if name not in self.rules]
        changed = [name for name, digest in rules.items() if self.rules.get(name, digest) != digest]
        told = (("without", missing), ("older code of", changed))
        return "; ".join(f"{what} {', '.join(names)}" for what, names in told if names)


def restricted(examples: Examples, names: Collection[str], questions: int) -> Examples:
    """What is kept of these rules and of the first questions."""

    def some(found: Mapping[str, T]) -> dict[str, T]:
        return {name: one for name, one in found.items() if name in names}

    def asked(one: Asked) -> Asked:
        return replace(one, answers=tuple(replace(answer, credit=some(answer.credit)) for answer in one.answers))

    places = [place for place, name in enumerate(examples.compared) if name in names]
    return replace(
        examples,
        rules=some(examples.rules),
        questions=tuple(map(asked, examples.questions[:questions])),
        profiles=some(examples.profiles),
        agreement=tuple(tuple(examples.agreement[row][column] for column in places) for row in places),
    )


def save(examples: Examples, path: Path) -> None:
    """Writes the file, whole or not at all: a line for each field, and for each question and profile."""
    found = plain(examples)
    lines = []
    for name, value in found.items():
        inner: Iterable[str] | None = None
        if name in ("questions", "agreement"):
            inner, brackets = map(_json, value), "[]"
        elif name == "profiles":
            inner, brackets = (f"{_json(key)}: {_json(one)}" for key, one in value.items()), "{}"
        text = _json(value) if inner is None else f"{brackets[0]}\n  " + ",\n  ".join(inner) + f"\n {brackets[1]}"
        lines.append(f" {_json(name)}: {text}")
    atomic_write(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def load(path: Path) -> Examples:
    """What is kept in a file; raises `CorruptRecord` naming it where it is something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        parts = {
            "command": tuple(found["command"]),
            "questions": tuple(_asked(one) for one in found["questions"]),
            "profiles": {name: Profile(**_tuples(one)) for name, one in found["profiles"].items()},
            "agreement": tuple(map(tuple, found["agreement"])),
            "origin": Origin(**found["origin"]),
        }
        if extra := set(found) ^ {one.name for one in fields(Examples)}:
            raise ValueError(f"its fields are not those of kept answers: {', '.join(sorted(extra))}")
        return Examples(**{**found, **parts})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptRecord(f"{path} holds no kept answers: {error}") from None


def _asked(found: Mapping[str, Any]) -> Asked:
    answers = [
        {**_tuples(one), "credit": {name: tuple(row) for name, row in one["credit"].items()}}
        for one in found["answers"]
    ]
    return Asked(**{**_tuples(found), "answers": tuple(Answer(**one) for one in answers)})


def _tuples(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
