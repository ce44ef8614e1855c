"""What decides a run's numbers: the part of a record by which runs are told apart, besides their names and settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from credit_zoo.errors import check_range

Scalar: TypeAlias = str | int | float | bool | None
Setting: TypeAlias = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True)
class Identity:
    """What decides a run's numbers and stands nowhere else in its record.

    Rule and base carry the digest of their code (`Piece.code`), the model that of its weights, the questions their
    revision. `loop_version` is that of draws and loop (`credit_zoo.LOOP_VERSION`), `grader` that of the rules that
    reward, `dtype` the numbers that the weights are held in, `encoder` a digest of what questions and pictures become.
    `settings` are all of the model, the prompts, the data and the sampler that can change a number
    (`credit_zoo.experiment.setting_roles`).
    """

    loop_version: int
    grader: str
    dtype: str
    encoder: str
    settings: Mapping[str, Setting]

    def __post_init__(self) -> None:
        check_range("identity.loop_version", self.loop_version, 1)
