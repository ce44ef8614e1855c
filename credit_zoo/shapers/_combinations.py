"""Rules made of rules: `permuted(pepo)`, `mean(pepo,entropy)`, to any depth.

A combination is a piece that takes the token advantages of its parts, and is a rule itself: it has facts, settings of
its own (`permuted.seed`), and those of its parts (`pepo.alpha`). Its class is made when its name is first asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import UsageError, check_range, unknown
from credit_zoo.facts import SCOPES, ShaperFacts
from credit_zoo.registry import COMBINATIONS, SHAPERS, Entry
from credit_zoo.rule_names import parts_of
from credit_zoo.shapers import _positions as positions
from credit_zoo.shapers._seeds import seed_of
from credit_zoo.types import ShaperInputs, TokenSignals


@runtime_checkable
class _Rule(Protocol):
    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]: ...


@dataclass(frozen=True)
class _Combination:
    """The rules that are combined; scope and promises follow from theirs."""

    rules: tuple[_Rule, ...] = ()

    least_scope = "response"
    keeps_mean = True
    keeps_sign = True

    def parts(self, x: ShaperInputs) -> list[Float[Tensor, "B T"]]:
        """The token advantages of every part, each of which sees the signals that it declared."""
        found = []
        for rule in self.rules:
            needs = SHAPERS.of(rule).facts.needs
            seen = TokenSignals({name: x.signals.values[name] for name in needs})
            found.append(rule(replace(x, signals=seen)))
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {one.name: getattr(self, one.name) for one in fields(self)}
        return _remake, (SHAPERS.of(self).name, settings)


def _remake(name: str, settings: dict[str, Any]) -> object:
    return SHAPERS[name].factory(**settings)


@COMBINATIONS.register("permuted", control=True)
@dataclass(frozen=True)
class Permuted(_Combination):
    """The null of a rule: its token advantages, shuffled within each response.

        A[b,t] = rule[b, s(t)]        s a permutation of the response's valid tokens

    Paper: none. The same credit in the same response, only at other tokens: a rule that does not beat its own shuffle
    has shown nothing. The permutation is drawn from a hash of the seed and of the response's valid token ids in their
    order, and of nothing else, so that padding, the rows' order, micro-batches and processes leave it alone.
    """

    seed: int = 0  # of the permutations, [0, inf)

    def __post_init__(self) -> None:
        check_range("permuted.seed", self.seed, 0)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        (credit,) = self.parts(x)
        # Drawn on the host from one copy of ids and mask: an accelerator is waited for once, and not for every row.
        ids, mask = torch.stack([x.ids, x.mask.long()]).cpu()
        source = torch.arange(ids.shape[1]).repeat(len(ids), 1)
        for row, valid in enumerate(mask.bool()):
            source[row, valid] = source[row, valid][drawn_order(self.seed, ids[row, valid])]
        return masked.fill(credit.gather(1, source.to(credit.device)), x.mask)


def drawn_order(seed: int, ids: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """A permutation of a response's tokens that is drawn from the seed and the ids alone."""
    generator = torch.Generator().manual_seed(seed_of(seed, ids))
    return torch.randperm(len(ids), generator=generator).to(ids.device)


@COMBINATIONS.register("position_only", control=True)
@dataclass(frozen=True)
class PositionOnly(_Combination):
    """A rule by position alone: its mean weight in each part of a response, over all responses.

        w[k]   = mean of rule[b,t] / A[b] over responses with A[b] != 0 and tokens of part k = floor(bins t / T[b])
        A[b,t] = A[b] * w[k(t)]                   t counts the response's valid tokens from 0

    Paper: none. A rule that does not beat it is a prior over positions. A part that no token stands in has weight 1.
    """

    bins: int = 10  # parts of equal length that a response is cut into, [1, inf)

    least_scope = "batch"
    keeps_mean = False
    keeps_sign = False

    def __post_init__(self) -> None:
        check_range("position_only.bins", self.bins, 1)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        (credit,) = self.parts(x)
        before, length = positions.place(x.mask).clamp(min=0), masked.count(x.mask).clamp(min=1).long()
        part = (self.bins * before).div(length, rounding_mode="floor")
        part = torch.where(x.mask, part.clamp(max=self.bins - 1), 0)
        counted = x.mask & (x.advantage != 0)[:, None]
        weight = _relative(credit, x)
        sums, counts = (torch.zeros(self.bins, dtype=torch.float64, device=credit.device) for _ in range(2))
        sums.index_add_(0, part[counted], weight[counted].double())
        counts.index_add_(0, part[counted], torch.ones_like(weight[counted]).double())
        mean = torch.where(counts > 0, sums / counts.clamp(min=1), 1.0).float()
        return x.weighted(mean[part])


@COMBINATIONS.register("product", least=2, most=8)
@dataclass(frozen=True)
class Product(_Combination):
    """The weights of several rules, multiplied: a mask with a weight, for one.

        A[b,t] = A[b] * prod_k (rule_k[b,t] / A[b])           0 where A[b] is 0

    Paper: none.
    """

    keeps_mean = False

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        return x.weighted(torch.stack([_relative(credit, x) for credit in self.parts(x)]).prod(0))


@COMBINATIONS.register("mean", least=2, most=8)
@dataclass(frozen=True)
class Mean(_Combination):
    """The token advantages of several rules, averaged.

        A[b,t] = mean_k rule_k[b,t]

    Paper: none.
    """

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        return torch.stack(self.parts(x)).mean(0)


@COMBINATIONS.register("renormalised")
@dataclass(frozen=True)
class Renormalised(_Combination):
    """A rule whose token advantages are scaled so that each response's mean is its advantage.

        A[b,t] = rule[b,t] * A[b] / mean_t rule[b,t]

    Paper: none. A response whose mean has not the sign of its advantage, or is below `floor` of it, is left uniform.
    """

    floor: float = 1e-3  # of the mean, as a share of the advantage, (0, 1]

    def __post_init__(self) -> None:
        check_range("renormalised.floor", self.floor, 0, 1, open_low=True)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        (credit,) = self.parts(x)
        weights = _relative(credit, x)
        share = masked.mean(weights, x.mask)
        kept = share >= self.floor
        return x.weighted(torch.where(kept, weights / torch.where(kept, share, 1.0), 1.0))


def _relative(credit: Float[Tensor, "B T"], x: ShaperInputs) -> Float[Tensor, "B T"]:
    """Token advantages as multiples of the response's, 0 where that is 0."""
    advantage = x.advantage[:, None]
    return torch.where(advantage == 0, 0.0, credit / torch.where(advantage == 0, 1.0, advantage))


def combination(name: str) -> Entry[ShaperFacts]:
    """The entry of a combination's name; raises `UsageError` for a piece or a part that is not there."""
    head, names = parts_of(name)
    if head not in COMBINATIONS:
        raise unknown("combination", head, COMBINATIONS)
    piece = COMBINATIONS[head]
    parts = tuple(SHAPERS[part] for part in names)
    if not piece.facts.least <= len(parts) <= piece.facts.most:
        raise UsageError(f"{head} combines {piece.facts.least} to {piece.facts.most} rules, got {len(parts)}: {name}")
    made = make_dataclass(
        f"{piece.factory.__name__}Of{''.join(part.factory.__name__ for part in parts)}",
        [("rules", tuple, field(default_factory=lambda: tuple(part.factory() for part in parts)))],
        bases=(piece.factory,),
        namespace={"__doc__": piece.factory.__doc__, "__module__": __name__},
        frozen=True,
    )
    facts = _facts(cast(type[_Combination], piece.factory), piece.facts.control, parts)
    made.needs = facts.needs  # type: ignore[attr-defined]  # as the registry does for a rule
    return Entry(name, made, facts, piece.file, parts)


def _facts(piece: type[_Combination], control: bool, parts: Sequence[Entry[ShaperFacts]]) -> ShaperFacts:
    """What follows for the whole from its parts."""
    each = [part.facts for part in parts]
    return ShaperFacts(
        paper="none",
        needs=tuple(dict.fromkeys(need for facts in each for need in facts.needs)),
        scope=cast(Any, max((piece.least_scope, *(facts.scope for facts in each)), key=SCOPES.index)),
        stage="update" if any(facts.stage == "update" for facts in each) else "rollout",
        control=control or any(facts.control for facts in each),
        preserves_mean=_keeps_mean(piece, each),
        preserves_sign=piece.keeps_sign and all(facts.preserves_sign for facts in each),
    )


def _keeps_mean(piece: type[_Combination], each: Sequence[ShaperFacts]) -> bool:
    return piece is Renormalised or (piece.keeps_mean and all(facts.preserves_mean for facts in each))
