"""What is kept of a measurement below its work folder, so that it can go on, and more rules and batches be added.

    <digest of the setup>/setup.json                     what the digest is of
                          scale.pt                       second moments of uniform's gradient
                          direction/NAME-0003.npz        projected gradients that tell the direction
                          batch-0007/rollout.pt          the sampled responses
                          batch-0007/tokens.npz          the truth about their tokens
                          batch-0007/RULE-DIGEST.npz     a rule's credit and its projected gradient

Every file is written whole or not at all. A rule whose code changed has another digest and is measured anew.
"""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from credit_zoo.registry import SHAPERS
from credit_zoo.results import atomic_bytes, atomic_write, code_digest, digest

Arrays = Mapping[str, NDArray[Any]]


@cache
def rule_digest(name: str) -> str:
    """A digest of a rule's sources, of those of its parts and of all that they import."""
    return code_digest(SHAPERS[name].files)


def file_name(name: str) -> str:
    """A rule's name as that of a file."""
    return re.sub(r"[^\w]+", "-", name).strip("-")


@dataclass(frozen=True)
class Workspace:
    """The folder of one setup."""

    folder: Path

    @classmethod
    def of(cls, below: Path, identity: Mapping[str, Any]) -> "Workspace":
        """The folder of a setup, made where it is not there."""
        text = json.dumps(identity, sort_keys=True)
        made = cls(below / digest([text]))
        if not (made.folder / "setup.json").exists():
            atomic_write(made.folder / "setup.json", json.dumps(identity, indent=1, sort_keys=True) + "\n")
        return made

    def batch(self, number: int) -> Path:
        """The folder of a batch."""
        return self.folder / (f"batch-{number:04d}" if number >= 0 else f"reference-{-1 - number:04d}")

    def rule(self, batch: int, name: str) -> Path:
        """The file of a rule in a batch."""
        return self.batch(batch) / f"{file_name(name)}-{rule_digest(name)}.npz"

    def direction(self, name: str, number: int) -> Path:
        """The file of a gradient that tells the direction."""
        return self.folder / "direction" / f"{name}-{number:04d}.npz"


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Writes named arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # its stub takes the first for a flag
    atomic_bytes(path, buffer.getvalue())


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Reads named arrays."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def save_object(path: Path, thing: object) -> None:
    """Writes tensors, or data that holds tensors."""
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    atomic_bytes(path, buffer.getvalue())


def load_object(path: Path) -> Any:
    """Reads what `save_object` wrote on this machine."""
    return torch.load(path, weights_only=False)
