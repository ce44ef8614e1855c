"""Draws that follow from a seed and a response's tokens alone, whatever the batch around it is."""

import hashlib

from jaxtyping import Int64
from torch import Tensor


def seed_of(seed: int, ids: Int64[Tensor, " n"]) -> int:
    """A number of 64 bits from a seed and the valid token ids of a response in their order."""
    digest = hashlib.blake2b(repr((seed, ids.tolist())).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
