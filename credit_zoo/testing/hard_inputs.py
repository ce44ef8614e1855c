"""Inputs on which shapers break, and ways to change inputs that must not matter: what `testing` feeds its checks."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from credit_zoo.types import SIGNALS, ShaperInputs, TokenSignals


def hard_cases() -> dict[str, ShaperInputs]:
    """Inputs on which shapers break, with every signal; the same at every call."""
    plain = _random(rows=5, width=11)
    holes, one = plain.mask.clone(), torch.zeros_like(plain.mask)
    shared = plain.ids.clone()
    shared[:, :4] = 3  # what every answer begins with
    holes[:, ::3] = False
    one[:, 4] = True
    return {
        "ordinary values": plain,
        "long responses": _random(rows=3, width=300),
        "answers of one prompt": replace(plain, group=torch.zeros_like(plain.group), ids=shared),
        "constant signals": measured(plain, lambda values: torch.full_like(values, 0.25)),
        "ties": measured(plain, lambda values: (values > values.mean()).float()),
        "values of +-1e4": measured(plain, lambda values: 1e4 * (values - values.mean()).sign()),
        "bfloat16": measured(plain, Tensor.bfloat16),
        "a mask with holes": replace(plain, mask=holes),
        "one-token responses": replace(plain, mask=one),
        "an empty row": replace(plain, mask=plain.mask & (torch.arange(5) != 1)[:, None]),
        "nothing but empty rows": replace(plain, mask=torch.zeros_like(plain.mask)),
    }


def _random(rows: int, width: int) -> ShaperInputs:
    generator = torch.Generator().manual_seed(width)
    normal = {name: torch.randn(rows, width, generator=generator) for name in SIGNALS}
    signals = {
        "logp": -normal["logp"].abs(),
        "entropy": normal["entropy"].abs(),
        "visual_similarity": 0.25 + 0.04 * normal["visual_similarity"],
        "visual_similarity_release": 0.3 + 0.04 * normal["visual_similarity_release"],
        "visual_similarity_last": 0.2 + 0.05 * normal["visual_similarity_last"],
        "collision": normal["collision"].abs().clamp(0.01, 1),
        "view_logp": -normal["view_logp"].abs(),
        "view_entropy": normal["view_entropy"].abs(),
        "view_divergence": 0.1 * normal["view_divergence"].abs().clamp(max=6),
        "log_ratio": 0.1 * normal["log_ratio"],
        "section": normal["section"].round().clamp(-1, 1),
        "digit": (normal["digit"] > 0.8).float(),
        "truth_advantage": 0.3 * normal["truth_advantage"].clamp(-3, 3),
        "truth_role": normal["truth_role"].round().clamp(-1, 2),
        "truth_error": (normal["truth_error"] > 1.2).float(),
    }
    lengths = torch.randint(2, width + 1, (rows, 1), generator=generator)
    return ShaperInputs(
        advantage=torch.tensor([1.2, -0.7, 0.0, 0.3, -2.0])[:rows],
        signals=TokenSignals(signals),
        mask=torch.arange(width) < lengths,
        group=torch.arange(rows) // 2,
        ids=torch.randint(0, 50, (rows, width), generator=generator),
        progress=0.5,
        correct=torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0])[:rows],
    )


@functools.cache
def shaper_inputs(needs: tuple[str, ...] = tuple(SIGNALS)) -> Any:  # the strategy's type would import hypothesis here
    """A Hypothesis strategy of `ShaperInputs` that carry the signals `needs`."""
    from hypothesis import strategies as st

    kinds = (
        st.floats(-1, 3, width=32, allow_subnormal=False),
        st.floats(-1e4, 1e4, width=32, allow_subnormal=False),
        st.sampled_from([0.0, 1.0]),
        st.just(0.25),
    )

    @st.composite
    def draw_inputs(draw: Callable[..., Any]) -> ShaperInputs:
        rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 6))
        row = {"min_size": rows, "max_size": rows}
        table = {"min_size": rows * width, "max_size": rows * width}
        dtype = draw(st.sampled_from([torch.float32, torch.float32, torch.bfloat16]))
        signals = {name: draw(st.lists(draw(st.sampled_from(kinds)), **table)) for name in needs}
        return ShaperInputs(
            advantage=torch.tensor(draw(st.lists(st.sampled_from([1.5, 0.0, -0.25, -3.0]), **row))),
            signals=TokenSignals({name: torch.tensor(v, dtype=dtype).view(rows, width) for name, v in signals.items()}),
            mask=torch.tensor(draw(st.lists(st.booleans(), **table))).view(rows, width),
            group=torch.tensor(draw(st.lists(st.integers(0, 2), **row))),
            ids=torch.tensor(draw(st.lists(st.integers(0, 9), **table))).view(rows, width),
            progress=draw(st.sampled_from([0.0, 0.3, 1.0])),
            correct=torch.tensor(draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), **row))),
        )

    return draw_inputs()


def measured(x: ShaperInputs, change: Callable[[Tensor], Tensor]) -> ShaperInputs:
    """`x` with every signal changed."""
    return replace(x, signals=TokenSignals({name: change(values) for name, values in x.signals.values.items()}))


def with_empty_row(x: ShaperInputs, place: int, group: int) -> ShaperInputs:
    """`x` with one more row at `place`, in a group, that has an advantage and junk signals but no token."""
    empty = x.rows(torch.zeros(1, dtype=torch.int64))

    def put(values: Tensor, one: Tensor) -> Tensor:
        return torch.cat([values[:place], one, values[place:]])

    junk = {n: put(v, torch.full_like(v[:1], torch.nan)) for n, v in x.signals.values.items()}
    return replace(
        x,
        advantage=put(x.advantage, empty.advantage + 5),
        signals=TokenSignals(junk),
        correct=put(x.correct, 1 - empty.correct),
        mask=put(x.mask, torch.zeros_like(empty.mask)),
        group=put(x.group, torch.full_like(empty.group, group)),
        ids=put(x.ids, empty.ids),
    )


def padded(x: ShaperInputs, places: Int64[Tensor, " T"], width: int) -> ShaperInputs:
    """`x` with its columns at `places` of `width`; the other columns hold junk outside the mask."""

    def spread(values: Tensor, junk: float) -> Tensor:
        wide = values.new_full((len(values), width), junk)
        wide[:, places] = values
        return wide

    signals = measured(x, lambda values: spread(values, torch.nan))
    return replace(signals, mask=spread(x.mask, False), ids=spread(x.ids, 7))
