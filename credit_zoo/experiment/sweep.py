"""A queue of runs that survives a stop: what has no record yet is run, as many at once as asked for, one thread each.

A run that is recorded is done, whoever ran it; one that was stopped goes on from its last save; one that failed is
named with its log and tried again by the next start. The state stands in `<out>/sweep/<name>.state`, a line a run.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from credit_zoo.errors import UsageError
from credit_zoo.experiment.expected import ExpectedRun, Foresight, recorded
from credit_zoo.experiment.grid import GridRun, grid_runs
from credit_zoo.experiment.sweep_estimate import Forecast, forecast, hours_text, rates
from credit_zoo.results import atomic_write, load_all
from credit_zoo.training import watch_for_signals

POLL = 0.2  # seconds between looks at the running ones


@dataclass(frozen=True)
class Sweep:
    """A file of runs, and how they are worked off."""

    file: str = "none"  # the grid: lines of words as typed to credit_zoo.run
    jobs: int = 1  # runs at once, one thread each
    dry_run: bool = False  # say what is done and what is missing, and about how long that takes; run nothing
    measure: bool = False  # where nothing like a run is recorded, time a run of two steps first
    results: str = "results"  # folder of records; a line's own results= counts before it
    out: str = "runs"  # folder of checkpoints, logs and the state; a line's own out= counts before it

    def __post_init__(self) -> None:
        if self.file == "none" or not Path(self.file).is_file():
            raise UsageError(f"name a file of runs: sweep FILE; there is no file '{self.file}'")
        if self.jobs < 1:
            raise UsageError(f"sweep.jobs must be 1 or more, got {self.jobs}")

    @property
    def folder(self) -> Path:
        """Where the state and the logs stand."""
        return Path(self.out) / "sweep"

    @property
    def name(self) -> str:
        """The file's name, by which state and logs are called."""
        return Path(self.file).stem


@dataclass
class Job:
    """One run of the queue: `state` is done, missing, running, stopped or failed."""

    words: tuple[str, ...]
    run: ExpectedRun
    log: Path
    state: str = "missing"
    seconds: float = 0.0
    note: str = ""
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0

    def line(self) -> str:
        """The state of a run as people and programs read it."""
        took = f"{self.seconds:.0f} s" if self.seconds else ""
        note = f"   # {self.note}" if self.note else ""
        return f"{self.state:<8} {took:>8}  {' '.join(self.words)}{note}"


def run_sweep(sweep: Sweep) -> int:
    """Works the queue off; returns 0 when all is recorded, 1 where a run failed, 128 and the signal's number if told to
    stop.
    """
    with _alone(sweep):
        jobs = planned(sweep)
        mark_done(jobs)
        forecasts = _forecasts(sweep, jobs)
        left = hours_text([forecasts[index] for index in range(len(jobs)) if jobs[index].state != "done"], sweep.jobs)
        if sweep.dry_run:
            for job, one in zip(jobs, forecasts, strict=True):
                about = "" if job.state == "done" or one.seconds is None else f"{one.seconds / 60:.1f} min"
                print(f"{job.state:<8} {about:>10}  {' '.join(job.words)}")
        print(f"{sweep.name}: {_counts(jobs)}; {left}", flush=True)
        return 0 if sweep.dry_run else _work(sweep, jobs, forecasts)


@contextlib.contextmanager
def _alone(sweep: Sweep) -> Iterator[None]:
    """Holds the sweep's lock: two that work the same file off would run everything twice. The runs hold it as well, so
    that it is not free before the last one of a killed sweep has ended.
    """
    if sweep.dry_run or os.name != "posix":
        yield
        return
    import fcntl

    sweep.folder.mkdir(parents=True, exist_ok=True)
    with (sweep.folder / f"{sweep.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another sweep of {sweep.name}, or a run that it left, is still at work") from None
        os.set_inheritable(lock.fileno(), True)
        yield


def planned(sweep: Sweep) -> list[Job]:
    """The jobs of a file in the order of the queue, each run once; refuses all for one line that cannot be run."""
    grid = grid_runs(_text(Path(sweep.file)), Path(sweep.file).name)
    ahead, seen, jobs = Foresight(), set[tuple[str, frozenset[str]]](), list[Job]()
    for one in grid:
        words = (f"results={sweep.results}", f"out={sweep.out}", *one.words)
        run = _expected(ahead, words, one, sweep)
        if (run.key, run.measures) not in seen:
            seen.add((run.key, run.measures))
            log = sweep.folder / sweep.name / f"{len(jobs):04d}-{_slug(run)}.log"
            jobs.append(Job(one.words, run, log))
    return jobs


def _text(file: Path) -> str:
    """The text of a grid, with or without the mark that some editors put before it."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 text: save it as such") from None


def _expected(ahead: Foresight, words: Sequence[str], one: GridRun, sweep: Sweep) -> ExpectedRun:
    try:
        return ahead.expected(words)
    except UsageError as error:
        raise UsageError(f"{Path(sweep.file).name} line {one.line}, {' '.join(one.words)}: {error}") from None


def _slug(run: ExpectedRun) -> str:
    name = f"{run.command.base}-{run.command.shaper}-seed{run.command.seeds[0]}"
    return "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in name)


def mark_done(jobs: Sequence[Job]) -> None:
    """Runs that have a record are done."""
    for folder in sorted({job.run.command.results for job in jobs}):
        known = recorded(load_all(Path(folder))[0])
        for job in jobs:
            if job.run.command.results == folder and job.run.is_recorded(known):
                job.state, job.note = "done", ""


def _forecasts(sweep: Sweep, jobs: Sequence[Job]) -> list[Forecast]:
    folders = sorted({job.run.command.results for job in jobs})
    records = [record for folder in folders for record in load_all(Path(folder))[0]]
    place = sweep.folder / sweep.name / "measured"
    for job in jobs if sweep.measure else ():
        if job.state != "done" and forecast(job.run, rates(records)).seconds is None:
            print(f"measure a run of two steps like {' '.join(job.words)}", flush=True)
            short = ("steps=2", "eval.questions=8", f"results={place}/results", f"out={place}/runs")
            _wait(_start((*job.words, *short), job.log))
            records += load_all(place / "results")[0]
    known = rates(records)
    return [forecast(job.run, known) for job in jobs]


def _wait(process: "subprocess.Popen[bytes]") -> None:
    """Waits for a short run, and takes it along when told to stop."""
    try:
        process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _start(words: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Starts a run of one thread that writes to its log, out of the reach of the terminal's Ctrl-C."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "credit_zoo.run", *words, "resume=true"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        file.write(f"$ {' '.join(command[1:])}\n".encode())
        file.flush()
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True,
            close_fds=False,
        )  # fmt: skip


def _work(sweep: Sweep, jobs: Sequence[Job], forecasts: Sequence[Forecast]) -> int:
    """Runs what is missing; a signal lets the running ones save themselves and stops."""
    waiting = [job for job in jobs if job.state != "done"]
    running: list[Job] = []
    about = {id(job): one for job, one in zip(jobs, forecasts, strict=True)}
    with watch_for_signals() as request:
        try:
            told = False
            while running or (waiting and not request.number):
                while waiting and len(running) < sweep.jobs and not request.number:
                    running.append(_begin(sweep, waiting.pop(0)))
                    _write_state(sweep, jobs)
                if request.number and not told:
                    told = True
                    print("stopping: the runs at work save themselves first", flush=True)
                    for job in running:
                        _signal(job, signal.SIGTERM)
                for job in [one for one in running if one.process and one.process.poll() is not None]:
                    running.remove(job)
                    _finish(job, told)
                    _write_state(sweep, jobs)
                    left = hours_text([about[id(one)] for one in (*waiting, *running)], sweep.jobs)
                    print(f"{job.line()}\n{_counts(jobs)}; {left}", flush=True)
                time.sleep(POLL)
        finally:
            for job in running:
                _signal(job, signal.SIGKILL)
                job.state = "stopped"
            _write_state(sweep, jobs)
    failed = [job for job in jobs if job.state == "failed"]
    for job in failed:
        print(f"failed: {' '.join(job.words)}\n        {job.note}", file=sys.stderr)
    return 128 + request.number if request.number else int(bool(failed))


def _begin(sweep: Sweep, job: Job) -> Job:
    command = (f"results={sweep.results}", f"out={sweep.out}", *job.words)
    job.state, job.note, job.started = "running", "", time.perf_counter()
    job.process = _start(command, job.log)
    return job


def _signal(job: Job, number: int) -> None:
    if job.process and job.process.poll() is None:
        job.process.send_signal(number)


def _finish(job: Job, told: bool) -> None:
    """What became of a run: done only if its record is there."""
    assert job.process is not None
    status = job.process.returncode
    job.seconds = time.perf_counter() - job.started
    job.state = "failed"
    mark_done([job])
    if job.state == "done":
        return
    if told and (status >= 128 or status < 0):
        job.state = "stopped"
        return
    how = f"signal {-status}" if status < 0 else f"status {status}"
    why = _left_out(job) if status == 0 else f"ended with {how}: {_last_line(job.log)}"
    job.note = f"{why}; log: {job.log}"


def _left_out(job: Job) -> str:
    """Why a run that ended well does not count."""
    _, problems = load_all(Path(job.run.command.results))
    own = [one for one in problems if f"seed{job.run.command.seeds[0]}-" in one and "with other results" in one]
    return f"its record counts for nothing: {own[-1]}" if own else "ended with 0 and left no record of this run"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing was said")[:200]


def _counts(jobs: Sequence[Job]) -> str:
    """How many runs are in each state."""
    found = Counter(job.state for job in jobs)
    states = ("done", "running", "missing", "stopped", "failed")
    return f"{len(jobs)} runs: " + ", ".join(f"{found[state]} {state}" for state in states if found[state])


def _write_state(sweep: Sweep, jobs: Sequence[Job]) -> None:
    """The state of all, whole or not at all."""
    text = "".join(f"{job.line()}\n" for job in jobs)
    atomic_write(sweep.folder / f"{sweep.name}.state", f"# {sweep.file}: {_counts(jobs)}\n{text}")
