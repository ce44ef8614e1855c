"""The command: measures what is not there yet, tells the numbers of all that is there, prints and writes them."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from credit_zoo.cli import as_arguments
from credit_zoo.credit.drawing import Bench, open_bench
from credit_zoo.credit.estimates import LEAST
from credit_zoo.credit.measuring import Instrument, measure_batch, measure_reference, measure_truth
from credit_zoo.credit.one_token import OneToken
from credit_zoo.credit.record import SCHEMA, CreditRecord, load, save, title
from credit_zoo.credit.settings import Credit, rule_names
from credit_zoo.credit.summary import Summary, summarise
from credit_zoo.credit.text import record_text
from credit_zoo.credit.values import measure_values
from credit_zoo.credit.workspace import Workspace, file_name
from credit_zoo.errors import UsageError
from credit_zoo.policy import SHIPPED, ModelConfig, Policy, encoder_digest, weights_digest
from credit_zoo.registry import BENCHMARKS, SHAPERS
from credit_zoo.results import machine, origin, repeatable, utc_now

VERSION = 1  # of how batches are drawn and gradients measured: another one makes other files


def identity(bench: Bench, weights: str) -> Mapping[str, Any]:
    """What everything below a work folder depends on."""
    made = {"setup": bench.settings.setup, "weights": weights, "encoder": encoder_digest(bench.policy.encoder)}
    bench_version = BENCHMARKS[bench.settings.bench].facts.version
    return {**made, "source": str(bench.questions.source), "bench": bench_version, "version": VERSION}


def measure_all(instrument: Instrument, started: float) -> int:
    """Measures step by step until all is there or the minutes are used up; returns how many batches are there."""
    settings = instrument.bench.settings

    def over() -> bool:
        return bool(settings.minutes) and time.monotonic() - started > 60 * settings.minutes

    for step in (measure_reference, *([measure_truth] if instrument.bench.twin is not None else [])):
        if over():
            return 0
        step(instrument)
    for number in tqdm(range(settings.batches), "batches", disable=None):
        if over():
            return int(number)
        measure_batch(instrument, number)
        if settings.compares_values:
            measure_values(instrument, number)
    return settings.batches


def record_path(settings: Credit, work: Workspace) -> Path:
    """Where the record of a setup goes."""
    name = title(settings.setup, settings.note or Path(settings.model).name)
    return Path(settings.out) / f"{file_name(name)}-{work.folder.name[:6]}.json"


def recorded_rules(path: Path) -> list[str]:
    """The rules that the record of the same setup holds already, as far as they are still there: it keeps them."""
    return [one.name for one in load(path).rules if one.name in SHAPERS] if path.exists() else []


def made_record(instrument: Instrument, weights: str, summary: Summary, seconds: float) -> CreditRecord:
    """The record of what was told."""
    bench, settings = instrument.bench, instrument.bench.settings
    return CreditRecord(
        schema=SCHEMA,
        created=utc_now(),
        command=("credit_zoo.credit", *repeatable(word for word in as_arguments(settings) if "work=" not in word)),
        bench=settings.bench,
        bench_version=BENCHMARKS[settings.bench].facts.version,
        source=str(bench.questions.source),
        model=Path(settings.model).name,
        note=settings.note,
        weights=weights,
        settings={**settings.setup, "data": settings.data and Path(settings.data).name},
        setup=instrument.work.folder.name,
        parameters=instrument.projection.total,
        numbers=instrument.projection.width,
        machine=machine(torch.get_num_threads()),
        origin=origin(),
        seconds=seconds,
        **summary.fields,
    )


def run_credit(settings: Credit) -> int:
    """Measures, prints and writes; returns the exit status: 0."""
    started = time.monotonic()
    if settings.model in SHIPPED:
        torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    policy = Policy.load(ModelConfig(path=settings.model, dtype=settings.dtype)).to(device).eval()
    bench = open_bench(settings, policy, OneToken if settings.forced else Bench)
    weights = weights_digest(policy)
    work = Workspace.of(Path(settings.work), identity(bench, weights))
    path = record_path(settings, work)
    names = dict.fromkeys((*rule_names(settings, twin=bench.twin is not None), *recorded_rules(path)))
    instrument = Instrument(bench, work, tuple(names))
    batches = measure_all(instrument, started)
    if batches < LEAST:
        raise UsageError(
            f"minutes={settings.minutes:g} were enough for {batches} batches, and numbers are told from {LEAST} on: "
            "the same words again go on from here"
        )
    summary = summarise(instrument, batches)
    record = made_record(instrument, weights, summary, round(time.monotonic() - started, 1))
    print(record_text(record))
    save(record, path)
    print(f"\nwrote {path}")
    return 0
