"""Result files: one run, one file, written in one step, never overwritten, and refused when damaged.

A file is JSON with one line per curve entry and per list of scores. Reading is strict: a file says exactly what
the dataclasses of `credit_zoo.results.record` say, or it is named, with the field, and refused. Only fields with a
`default_factory` may be missing: they are younger than the schema. A file of schema 1 is read in the words of schema 2
(`credit_zoo.results.schema_v1`).
"""

import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from credit_zoo.errors import UsageError
from credit_zoo.results.decoding import decode
from credit_zoo.results.record import SCHEMA, Evaluation, RunRecord
from credit_zoo.results.schema_v1 import upgraded

__all__ = ["CorruptRecord", "RunRecord", "atomic_write", "load", "load_all", "plain", "record_path", "run_key", "write"]


_SURROGATE = re.compile(r"\\u[dD][89abAB]|\\u[dD][c-fC-F]")
ARCHIVE = "archive"  # a folder of records that are kept and count nowhere


class CorruptRecord(UsageError):
    """A result file that is not a record; the message names the file and the field."""


def record_path(record: RunRecord) -> Path:
    """`<trained bench>/<model>/<base>/<shaper>/seed<k>-<run id>.json`, below the folder of results.

    The folders are for people; the run id, a time and random bits, keeps two runs apart that agree in all of them
    (other settings, other steps, another machine), so branches of many runs merge without a conflict.
    """
    trained = record.training.source.bench if record.training else "untrained"
    pieces = (record.base.name if record.base else "none", record.shaper.name if record.shaper else "none")
    folders = [_slug(name) for name in (trained, record.model.name, *pieces)]
    return Path(*folders, f"seed{record.seed}-{record.run_id}.json")


def _slug(name: str) -> str:
    """A name as a folder: no separators, nothing hidden, no way up."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".") or "unnamed"


def write(record: RunRecord, folder: Path) -> Path:
    """Writes the record below `folder` and returns its path; refuses what `load` would refuse, and to overwrite."""
    path = folder / record_path(record)
    content = plain(record)
    try:
        decode(RunRecord, content)
    except UsageError as error:
        raise CorruptRecord(f"{path} is not written: {error}") from None
    if path.exists():
        raise UsageError(f"{path} exists already and a record is never overwritten: give the run another run_id")
    atomic_write(path, "".join(_lines(content, "")) + "\n")
    return path


def atomic_write(path: Path, text: str) -> None:
    """Writes a text file that is there whole or not at all, whatever happens in between."""
    atomic_bytes(path, text.encode())


def atomic_bytes(path: Path, content: bytes) -> None:
    """The same for any content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)  # mkstemp's own mode would hide the record from everyone else
        os.replace(name, path)  # noqa: PTH105 - the call that makes it atomic is meant to be seen
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def plain(value: Any) -> Any:
    """What JSON can hold: dataclasses become dictionaries, tuples lists."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def _lines(value: Any, indent: str) -> list[str]:
    """JSON text in pieces: a list of plain values, or a small mapping inside a list, stands on one line."""
    inner = indent + " "
    parts = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)) or not any(isinstance(part, (dict, list)) for part in parts):
        return [json.dumps(value, ensure_ascii=False, allow_nan=False)]
    mapping = isinstance(value, dict)
    keys = [f"{json.dumps(key, ensure_ascii=False)}: " if mapping else "" for key in value]
    brackets = "{}" if mapping else "[]"
    pieces = [brackets[0]]
    for index, (key, part) in enumerate(zip(keys, parts, strict=True)):
        pieces += ["," if index else "", "\n", inner, key, *_lines(part, inner)]
    return [*pieces, "\n", indent, brackets[1]]


def load(path: Path) -> RunRecord:
    """The record of a file; raises `CorruptRecord` naming the file and the field unless it is one in every detail."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, object_pairs_hook=_unique_keys)
        if _SURROGATE.search(text):
            json.dumps(content, ensure_ascii=False).encode()  # half a pair cannot be shown, nor written
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptRecord(f"{path} cannot be read as a record: {error}") from None
    try:
        if isinstance(content, dict) and isinstance(content.get("schema"), int) and content["schema"] > SCHEMA:
            raise UsageError(f"schema: {content['schema']} is newer than {SCHEMA}; update credit_zoo to read it")
        old = isinstance(content, dict) and type(content.get("schema")) is int and content["schema"] == 1
        record = decode(RunRecord, upgraded(content) if old else content)
    except UsageError as error:
        raise CorruptRecord(f"{path} is not a valid record: {error}") from None
    assert isinstance(record, RunRecord)
    return record


def find(folder: Path, run_id: str) -> RunRecord:
    """The one record of a run below a folder."""
    found = sorted(folder.rglob(f"*-{run_id}.json"))
    if len(found) != 1:
        raise UsageError(f"run {run_id} has {len(found)} records below {folder}, must have one")
    return load(found[0])


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError(f"a key stands twice among {', '.join(key for key, _ in pairs)}")
    return mapping


def run_key(record: RunRecord) -> str:
    """Everything that says what was run, seed included, and nothing that says when, where or with what result.

    The operative gin text is left out: it also names what does not bear on the run, such as the list of benchmarks.
    """
    training = record.training
    trained = (training.source, training.steps, training.settings) if training else None
    what = (record.contract_version, record.shaper, record.base, record.seed, record.model)
    return key_of(*what, trained, record.identity)


def key_of(*what: object) -> str:
    """The key of a run that is told in the order of `run_key`, before it has a record."""
    return json.dumps(plain(what), sort_keys=True)


Loaded: TypeAlias = list[tuple[Path, RunRecord]]
Measured: TypeAlias = dict[tuple[str, tuple[object, ...]], Evaluation]


def _measured(record: RunRecord) -> Measured:
    return {(evaluation.stage, evaluation.measure): evaluation for evaluation in record.evaluations}


def _joined(loaded: Loaded) -> tuple[Loaded, list[str]]:
    """Of records of one run, seed included, the earliest counts: running again until it looks better is no way up.

    A later one with the same scores is a reproduction; what it measured besides, on other benchmarks, joins the
    earlier, so that a run counts once. So does one that shares no measure, if it learnt step by step the same. One
    with other scores for a measure that is there is left out whole and named with the first that has it.
    """
    runs: dict[str, Loaded] = {}
    problems = []
    for path, record in loaded:
        standing = runs.setdefault(run_key(record), [])
        own = _measured(record)
        known = [_measured(first) for _, first in standing]
        pairs = [(place, own[key], had[key]) for place, had in enumerate(known) for key in own.keys() & had]
        others = [place for place, one, other in pairs if _differ(one, other)]
        if others:
            problems.append(f"{path} repeats {standing[others[0]][0]} with other results: the earlier one counts")
            continue
        shared = [bool(own.keys() & had) for had in known]
        own = {key: one for key, one in own.items() if not any(key in had for had in known)}
        if not own:
            continue
        fitting = [
            place
            for place, (_, first) in enumerate(standing)
            if (shared[place] or _lesson(record) == _lesson(first)) and _sets(own.values()).isdisjoint(_sets(first))
        ]
        if fitting:
            earlier, first = standing[fitting[0]]
            standing[fitting[0]] = earlier, replace(first, evaluations=(*first.evaluations, *own.values()))
        else:
            standing.append((path, replace(record, evaluations=tuple(own.values()))))
    return [item for standing in runs.values() for item in standing], problems


def _differ(one: Evaluation, other: Evaluation) -> bool:
    """Whether two measurements of the same came out otherwise, whatever only one of them reports beside the scores."""
    if one.greedy is None or other.greedy is None:
        one, other = replace(one, greedy=None), replace(other, greedy=None)
    return replace(one, beside=other.beside) != other


def _sets(found: RunRecord | Iterable[Evaluation]) -> set[tuple[str, bool]]:
    """The benchmarks of some measurements, a twin apart from its original."""
    return {(one.bench, one.twin) for one in (found.evaluations if isinstance(found, RunRecord) else found)}


def first_runs(records: Sequence[RunRecord]) -> list[RunRecord]:
    """One record a run, seed included, the earliest: for what is told of the training itself, which a run that was
    repeated for another benchmark has done again.
    """
    first: dict[str, RunRecord] = {}
    for record in sorted(records, key=lambda one: one.created):
        first.setdefault(run_key(record), record)
    kept = {record.run_id for record in first.values()}
    return [record for record in records if record.run_id in kept]


def _lesson(record: RunRecord) -> list[list[float | None]]:
    """What was seen at each step of a training: the same for the same policy, whatever the machine's speed."""
    curve = record.training.curve if record.training else ()
    return [[entry.get(name) for name in ("step", "loss", "reward", "length")] for entry in curve]


def _unchanged(path: Path) -> RunRecord:
    """`load`, or what it gave for this very file: the same path, inode, time and size."""
    try:
        about = path.stat()
    except OSError as error:
        raise CorruptRecord(f"{path} cannot be read as a record: {error}") from None
    return _kept(path, about.st_ino, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=2048)
def _kept(path: Path, inode: int, time: int, size: int) -> RunRecord:
    return load(path)


def _standing(loaded: Loaded) -> tuple[Loaded, list[str]]:
    """In the order in which runs count: by their time, a run that takes the place of others at the earliest of theirs.
    Those whose place is taken are left out; the run that took it says so in its own row.
    """
    by_id = {record.run_id: record for _, record in loaded}
    heeded: dict[str, list[str]] = {}
    problems = []
    for path, record in loaded:
        for run_id in record.supersedes:
            old = by_id.get(run_id)
            if old is not None and not _like(record, old):
                problems.append(f"{path} supersedes {run_id} of another rule, base, set or seed: that one counts")
            elif old is not None and (old.created, old.run_id) < (record.created, record.run_id):
                heeded.setdefault(record.run_id, []).append(run_id)
    replaced = {run_id for found in heeded.values() for run_id in found}

    def place(record: RunRecord) -> str:
        return min([record.created, *(place(by_id[run_id]) for run_id in heeded.get(record.run_id, ()))])

    kept = [(path, record) for path, record in loaded if record.run_id not in replaced]
    return sorted(kept, key=lambda item: (place(item[1]), item[1].created, item[0])), problems


def _like(record: RunRecord, old: RunRecord) -> bool:
    """Whether a run may take the place of another: the same rule, base, set and seed."""
    return _place_of(record) == _place_of(old)


def _place_of(record: RunRecord) -> tuple[object, ...]:
    pieces = [piece and piece.name for piece in (record.shaper, record.base)]
    return record.seed, *pieces, record.training and record.training.source.bench


def load_all(folder: Path) -> tuple[list[RunRecord], list[str]]:
    """(records, problems) of every `*.json` below `folder`, in the order of their paths, `folder/archive` left out.

    A damaged file, and a run that stands there twice with different results, are named in the problems and left out, a
    run that another supersedes is left out; the others count. A file that is as it was the last time is not decoded
    again.
    """
    loaded, problems = [], []
    for path in sorted(folder.rglob("*.json")):
        if path.is_relative_to(folder / ARCHIVE):
            continue
        try:
            loaded.append((path, _unchanged(path)))
        except CorruptRecord as error:
            problems.append(str(error))
    standing, unlike = _standing(loaded)
    kept, repeated = _joined(standing)
    return [record for _, record in sorted(kept, key=lambda item: item[0])], problems + unlike + repeated
