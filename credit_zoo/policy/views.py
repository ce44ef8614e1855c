"""Degraded views: what a policy is shown instead of a question's picture, to see which of its tokens need it.

A view makes prompts of prompts, so that what reads the one reads the other. It changes the image processor's tensors:
rows of patches, `[patches, channels x the rest]` (Qwen-VL), or pictures and their crops, `[..., C, H, W]` (all others).

What is drawn is drawn from a hash of the view's seed, the prompt's tokens and its picture, and of nothing else: a
question is degraded alike in every step, micro-batch and process, however it is padded.
"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from credit_zoo.errors import UsageError, check_range
from credit_zoo.policy.batch_layout import BatchLayout
from credit_zoo.policy.policy import Policy
from credit_zoo.policy.processor import pad, padded_length
from credit_zoo.registry import VIEWS
from credit_zoo.types import Prompts

PIXELS = "pixel_values"


@dataclass(frozen=True, eq=False)
class Picture:
    """A prompt's picture: the tokens that stand for it, first to last, and the image processor's tensors. `place` is
    where the tokens begin and end in the prompt without padding, `digest` tells pictures apart.
    """

    tokens: Int64[Tensor, " K"]
    vision: Mapping[str, Tensor]
    place: tuple[int, int]
    digest: bytes


@runtime_checkable
class View(Protocol):
    """A frozen dataclass of settings that degrades prompts, all of which have a picture. One with `swaps` is handed the
    pictures of the step, over all processes, in any order.
    """

    @property
    def swaps(self) -> bool: ...

    def __call__(self, prompts: Prompts, policy: Policy, pool: Sequence[Picture]) -> Prompts: ...


@VIEWS.register("patches", paper="arXiv:2510.09285")
@dataclass(frozen=True)
class Patches:
    """Patches of the picture are black, of the size that the vision tower reads.

    Of a picture that is read in crops as well as whole, each is blacked out on its own. A share of 1 leaves nothing.
    """

    share: float = 0.5  # of the patches that are black, (0, 1]
    seed: int = 0  # of which ones, [0, inf)

    swaps = False

    def __post_init__(self) -> None:
        check_range("patches.share", self.share, 0, 1, open_low=True)
        check_range("patches.seed", self.seed, 0)

    def __call__(self, prompts: Prompts, policy: Policy, pool: Sequence[Picture]) -> Prompts:
        shade = _black(policy)

        def blacked(pixels: Tensor, draws: torch.Generator) -> Tensor:
            black = shade.to(pixels)
            if pixels.ndim == 2:
                rows = pixels.view(len(pixels), len(black), -1)
                chosen = _chosen((len(pixels),), self.share, draws).to(pixels.device)
                return torch.where(chosen[:, None, None], black[:, None], rows).view(pixels.shape)
            high, wide = _patch(policy)
            grid = (*pixels.shape[:-3], math.ceil(pixels.shape[-2] / high), math.ceil(pixels.shape[-1] / wide))
            chosen = _chosen(grid, self.share, draws).to(pixels.device)
            chosen = chosen.repeat_interleave(high, -2).repeat_interleave(wide, -1)
            chosen = chosen[..., : pixels.shape[-2], : pixels.shape[-1]]
            return torch.where(chosen.unsqueeze(-3), black[:, None, None], pixels)

        return _repainted(prompts, policy, self.seed, blacked)


@VIEWS.register("noise", paper="arXiv:2606.03937")
@dataclass(frozen=True)
class Noise:
    """Gaussian noise on the picture's pixels, as the image processor has scaled them."""

    std: float = 2.0  # of the noise, in the processor's units, where a picture's own pixels have about 1, (0, inf)
    seed: int = 0  # of the noise, [0, inf)

    swaps = False

    def __post_init__(self) -> None:
        check_range("noise.std", self.std, 0, open_low=True)
        check_range("noise.seed", self.seed, 0)

    def __call__(self, prompts: Prompts, policy: Policy, pool: Sequence[Picture]) -> Prompts:
        def noised(pixels: Tensor, draws: torch.Generator) -> Tensor:
            return pixels + self.std * torch.randn(pixels.shape, generator=draws).to(pixels)

        return _repainted(prompts, policy, self.seed, noised)


@VIEWS.register("swapped")
@dataclass(frozen=True)
class Swapped:
    """The picture of another question of the step, with the tokens that stand for it: its size may differ.

    The step's pictures stand in a ring, ordered by hashes of the seed and of each; every question is shown the next
    one. Only where all questions of the step have one picture do they keep it.
    """

    seed: int = 0  # of the order, [0, inf)

    swaps = True

    def __post_init__(self) -> None:
        check_range("swapped.seed", self.seed, 0)

    def __call__(self, prompts: Prompts, policy: Policy, pool: Sequence[Picture]) -> Prompts:
        here, ring = pictures(prompts, policy), {self._key(one): one for one in pool}
        order = sorted(ring)
        # A picture that is not in the ring, for no answer to its question counts, is shown one that is.
        after = [bisect_right(order, self._key(one)) for one in here]
        shown = [ring[order[k % len(order)]] if order else own for k, own in zip(after, here, strict=True)]
        rows = [
            torch.cat([ids[: own.place[0]], other.tokens.to(ids.device), ids[own.place[1] :]])
            for ids, own, other in zip(_unpadded(prompts), here, shown, strict=True)
        ]
        device = prompts.ids.device
        vision = [{name: value.to(device) for name, value in other.vision.items()} for other in shown]
        return _padded(rows, vision, policy)

    def _key(self, picture: Picture) -> bytes:
        return hashlib.blake2b(repr((self.seed, picture.digest)).encode(), digest_size=16).digest()


@VIEWS.register("no_picture", paper="arXiv:2603.25077")
@dataclass(frozen=True)
class NoPicture:
    """The prompt without the picture and without the tokens that stand for it."""

    swaps = False

    def __call__(self, prompts: Prompts, policy: Policy, pool: Sequence[Picture]) -> Prompts:
        places = [one.place for one in pictures(prompts, policy)]
        rows = [
            torch.cat([ids[:first], ids[end:]]) for ids, (first, end) in zip(_unpadded(prompts), places, strict=True)
        ]
        return _padded(rows, [{}] * len(rows), policy)


def seen_through(rows: BatchLayout, view: View, policy: Policy, pool: Sequence[Picture] | None = None) -> BatchLayout:
    """The same rows, with their prompts degraded beside them. `pool` are the pictures of the step for a view that
    swaps, those of the rows themselves unless it is told. Raises `UsageError` where a prompt has no picture.
    """
    if pool is None:
        pool = pictures(rows.prompts, policy) if view.swaps else ()
    return replace(rows, degraded=view(rows.prompts, policy, pool))


def pictures(prompts: Prompts, policy: Policy) -> list[Picture]:
    """The picture of each prompt; raises `UsageError` where there is none."""
    marks = torch.tensor(policy.encoder.vision_tokens, device=prompts.ids.device)
    found = []
    for row, ids in enumerate(_unpadded(prompts)):
        places, vision = torch.isin(ids, marks).nonzero().flatten().tolist(), prompts.vision[row]
        if not places or not vision:
            raise UsageError(
                f"a degraded view needs a picture to degrade, but the prompt of row {row} has none. "
                "Drop questions without an image, or choose a shaper that does not look at a view."
            )
        place = (places[0], places[-1] + 1)
        found.append(Picture(ids[slice(*place)], vision, place, _digest(*vision.values())))
    return found


def _digest(*tensors: Tensor) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for one in tensors:
        found.update(repr(tuple(one.shape)).encode())
        found.update(one.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.digest()


def _unpadded(prompts: Prompts) -> list[Tensor]:
    return [ids[mask] for ids, mask in zip(prompts.ids, prompts.mask, strict=True)]


def _padded(rows: Sequence[Tensor], vision: Sequence[Mapping[str, Tensor]], policy: Policy) -> Prompts:
    width = padded_length(max(map(len, rows)))
    ids, mask = pad(rows, width, policy.encoder.pad_token, left=True)
    return Prompts(ids.to(rows[0].device), mask.to(rows[0].device), tuple(vision))


@runtime_checkable
class _Paint(Protocol):
    def __call__(self, pixels: Tensor, draws: torch.Generator) -> Tensor: ...


def _repainted(prompts: Prompts, policy: Policy, seed: int, paint: _Paint) -> Prompts:
    """The prompts with other pixels, each drawn by a generator of its own."""
    shown = []
    for ids, picture in zip(_unpadded(prompts), pictures(prompts, policy), strict=True):
        if PIXELS not in picture.vision or picture.vision[PIXELS].ndim not in (2, 4, 5):
            given = ", ".join(f"{name} {tuple(value.shape)}" for name, value in picture.vision.items())
            raise UsageError(
                f"views of patches and noise change {PIXELS} of 2, 4 or 5 dimensions; this model's image processor "
                f"gives {given}. Choose view=no_picture or view=swapped."
            )
        key = hashlib.blake2b(repr((seed, ids.tolist(), picture.digest)).encode(), digest_size=8).digest()
        draws = torch.Generator().manual_seed(int.from_bytes(key, "big"))
        shown.append({**picture.vision, PIXELS: paint(picture.vision[PIXELS], draws)})
    return replace(prompts, vision=tuple(shown))


def _chosen(shape: tuple[int, ...], share: float, draws: torch.Generator) -> Tensor:
    """A share of the places of a grid, at least one."""
    count = math.prod(shape)
    return (torch.randperm(count, generator=draws) < max(round(share * count), 1)).view(shape)


def _black(policy: Policy) -> Tensor:
    """Black `[C]` as the image processor scales it."""
    images = policy.encoder.image_processor or getattr(policy.encoder.processor, "image_processor", None)
    if images is None:
        raise UsageError("view=patches needs the model's image processor, which says what black is; there is none here")
    mean, std = torch.tensor(images.image_mean), torch.tensor(images.image_std)
    black = -mean / std if images.do_normalize else torch.zeros(len(mean))
    # A crop of zeros alone is taken for padding by some vision towers.
    return black if black.any() else black + 1e-6


def _patch(policy: Policy) -> tuple[int, int]:
    """Height and width of a patch [pixels]."""
    size = getattr(getattr(policy.model.config, "vision_config", None), "patch_size", None)
    if size is None:
        raise UsageError("view=patches: the model's vision_config names no patch_size. Choose another view")
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
