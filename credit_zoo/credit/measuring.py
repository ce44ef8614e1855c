"""From a bench to files: the scale and the direction, then batch by batch the credit and the gradient of every rule."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from credit_zoo.credit.drawing import TRUTH_FROM, Bench, Measured, asked, credit_of, measure
from credit_zoo.credit.gradients import backward_passes, coefficients, rule_gradients
from credit_zoo.credit.projection import Projection, second_moment_scale
from credit_zoo.credit.settings import REFERENCE
from credit_zoo.credit.true_gradient import true_gradient
from credit_zoo.credit.workspace import Arrays, Workspace, load_object, save_arrays, save_object
from credit_zoo.errors import UsageError
from credit_zoo.registry import SHAPERS
from credit_zoo.types import RolloutBatch

# Parts of the exact gradient, from which its own error is told.
TRUTH_PARTS = 16
CLOSED_FORM = "closed form"  # the gradient of a batch's questions without any sampling noise
ANOTHER_SAMPLE = "another sample"  # uniform's on other answers to the same questions


def trained_part(policy: nn.Module, layers: str) -> list[nn.Parameter]:
    """The trained parameters whose names hold one of the texts; all of them without any."""
    wanted = [text for text in layers.split(",") if text]
    trained = [(name, one) for name, one in policy.named_parameters() if one.requires_grad]
    found = [one for name, one in trained if not wanted or any(text in name for text in wanted)]
    if not found:
        raise UsageError(f"layers={layers} names no trained parameter; some are {', '.join(n for n, _ in trained[:3])}")
    return found


@dataclass(frozen=True)
class Instrument:
    """A bench whose measurements are kept in a workspace."""

    bench: Bench
    work: Workspace
    rules: Sequence[str]

    @cached_property
    def parameters(self) -> list[nn.Parameter]:
        return trained_part(self.bench.policy, self.bench.settings.layers)

    @cached_property
    def needs(self) -> list[str]:
        """What any of the rules wants measured."""
        each = [SHAPERS[name].facts for name in self.rules]
        return sorted({need for facts in each for need in (*facts.measured, *facts.text)})

    def plain(self) -> Projection:
        """The projection without Adam's geometry, which the reference batches tell."""
        settings = self.bench.settings
        return Projection(self.parameters, settings.numbers, settings.seed)

    @cached_property
    def projection(self) -> Projection:
        """The projection with the scale that was measured."""
        settings, kept = self.bench.settings, load_object(self.work.folder / "scale.pt")
        moment = [one.to(like.device) for one, like in zip(kept, self.parameters, strict=True)]
        return Projection(self.parameters, settings.numbers, settings.seed, second_moment_scale(moment))

    def rollout(self, batch: int) -> RolloutBatch:
        """A batch's answers, which are drawn once and kept."""
        path = self.work.batch(batch) / "rollout.pt"
        if not path.exists():
            save_object(path, self.bench.draw(batch))
        found: RolloutBatch = load_object(path)
        return found

    def upstream(self, measured: Measured, credit: Tensor) -> Tensor:
        """The coefficients of the log-probabilities under the base."""
        base, limit = self.bench.base, self.bench.settings.max_tokens
        return coefficients(base, measured.logp, credit, measured.inputs.mask, limit)

    def gradients(self, measured: Measured, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """The projected gradients from the coefficients."""
        bench = self.bench
        size = bench.settings.micro_batch
        return rule_gradients(bench.policy, measured.rows, bench.sampling, given, self.projection, size)

    def uniform(self, batch: RolloutBatch) -> tuple[Measured, Tensor]:
        """A batch of which nothing but uniform's coefficients is wanted."""
        measured = measure(self.bench, batch, (), truth=False)
        return measured, self.upstream(measured, credit_of(REFERENCE, measured))


def measure_reference(instrument: Instrument) -> None:
    """The second moment of uniform's gradient, and, with the scale that it gives, that gradient of every batch."""
    bench, work = instrument.bench, instrument.work
    batches = [-1 - number for number in range(bench.settings.reference)]
    scale = work.folder / "scale.pt"
    if not scale.exists():
        moment = [torch.zeros_like(one) for one in instrument.parameters]
        for batch in tqdm(batches, "scale of Adam", leave=False, disable=None):
            for total, one in zip(moment, _whole_gradient(instrument, batch), strict=True):
                total += one.square() / len(batches)
        save_object(scale, [one.cpu() for one in moment])
    for number, batch in enumerate(tqdm(batches, "uniform alone", leave=False, disable=None)):
        path = work.direction(REFERENCE, number)
        if not path.exists():
            measured, upstream = instrument.uniform(instrument.rollout(batch))
            (found,) = instrument.gradients(measured, {REFERENCE: upstream}).values()
            save_arrays(path, {"gradient": found.cpu().numpy()})


def _whole_gradient(instrument: Instrument, batch: int) -> list[Tensor]:
    """Uniform's gradient, not projected."""
    bench = instrument.bench
    total = [torch.zeros_like(one, dtype=torch.float32) for one in instrument.parameters]

    def put(name: str, gradients: Sequence[Tensor | None]) -> None:
        for into, one in zip(total, gradients, strict=True):
            if one is not None:
                into += one

    measured, upstream = instrument.uniform(instrument.rollout(batch))
    size = bench.settings.micro_batch
    given = {REFERENCE: upstream}
    backward_passes(bench.policy, measured.rows, bench.sampling, given, instrument.plain(), size, put)
    return total


def measure_truth(instrument: Instrument) -> None:
    """The exact gradient over many questions of the twin, in parts."""
    bench, work = instrument.bench, instrument.work
    size = max(1, bench.settings.truth // TRUTH_PARTS)
    for number in tqdm(range(TRUTH_PARTS), "exact gradient", leave=False, disable=None):
        path = work.direction("truth", number)
        if not path.exists():
            first = TRUTH_FROM + number * size
            save_arrays(path, _closed_form(instrument, range(first, first + size)))


def _closed_form(instrument: Instrument, numbers: Iterable[int]) -> Arrays:
    bench, size = instrument.bench, instrument.bench.settings.micro_batch
    found, values = true_gradient(bench.policy, bench.solved(numbers), bench.sampling, instrument.projection, size)
    return {"gradient": found.cpu().numpy(), "value": values.cpu().numpy()}


def measure_batch(instrument: Instrument, number: int) -> None:
    """Everything about a batch that is not there yet."""
    bench, work = instrument.bench, instrument.work
    missing = [name for name in instrument.rules if not work.rule(number, name).exists()]
    beside = [work.batch(number) / f"{name}.npz" for name in ("tokens", CLOSED_FORM, ANOTHER_SAMPLE)]
    if not missing and all(path.exists() for path in beside if bench.twin or path.stem != CLOSED_FORM):
        return
    rollout = instrument.rollout(number)
    measured = measure(bench, rollout, instrument.needs)
    credit = {name: credit_of(name, measured) for name in missing}
    given = {name: instrument.upstream(measured, one) for name, one in credit.items()}
    started = time.perf_counter()
    found = instrument.gradients(measured, given) if given else {}
    seconds = time.perf_counter() - started
    for name, gradient in found.items():
        save_arrays(
            work.rule(number, name),
            {
                "gradient": gradient.cpu().numpy(),
                "credit": credit[name].cpu().numpy().astype("float32"),
                "seconds": np.array([seconds / len(found)]),
            },
        )
    _measure_beside(instrument, number, rollout, measured)


def _measure_beside(instrument: Instrument, number: int, rollout: RolloutBatch, measured: Measured) -> None:
    """What is measured of a batch whatever the rules are."""
    bench, folder = instrument.bench, instrument.work.batch(number)
    if bench.twin is not None and not (path := folder / f"{CLOSED_FORM}.npz").exists():
        save_arrays(path, _closed_form(instrument, asked(rollout)))
    if not (path := folder / f"{ANOTHER_SAMPLE}.npz").exists():
        other, upstream = instrument.uniform(bench.draw(number, again=True))
        started = time.perf_counter()
        (found,) = instrument.gradients(other, {REFERENCE: upstream}).values()
        seconds = np.array([time.perf_counter() - started])
        save_arrays(path, {"gradient": found.cpu().numpy(), "seconds": seconds})
    if not (path := folder / "tokens.npz").exists():
        x = measured.inputs
        told = {name: values for name, values in x.signals.values.items() if name.startswith("truth_")}
        about = {"mask": x.mask, "group": x.group, "correct": x.correct, "advantage": x.advantage}
        kept = {**about, "another_way": measured.another_way, **told}
        save_arrays(path, {name: values.cpu().numpy() for name, values in kept.items()})
