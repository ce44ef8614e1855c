"""The commands there are: `credit-zoo NAME ...`, the same as `python -m credit_zoo.NAME ...`."""

import ast
import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

MODULES: Mapping[str, str] = {
    "run": "credit_zoo.run",
    "sweep": "credit_zoo.sweep",
    "leaderboard": "credit_zoo.leaderboard.__main__",
    "show": "credit_zoo.show",
    "probe": "credit_zoo.probe",
    "gates": "credit_zoo.gates",
    "credit": "credit_zoo.credit.__main__",
    "curves": "credit_zoo.curves",
    "report": "credit_zoo.report.__main__",
    "rescore": "credit_zoo.rescore",
    "profile": "credit_zoo.profile",
    "check_gpu": "credit_zoo.check_gpu",
    "pretrain": "credit_zoo.pretrain",
    "vllm_server": "credit_zoo.vllm_server",
    "sheet": "credit_zoo.sheet",
}


def summary_of(name: str) -> str:
    """The first line of what a command says of itself, read without importing it."""
    spec = importlib.util.find_spec(MODULES[name])
    assert spec is not None and spec.origin is not None
    return (ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or "").split("\n")[0]


def command_of(name: str) -> Callable[[Sequence[str]], int]:
    """The command of a name: words in, exit status out."""
    found: Callable[[Sequence[str]], int] = importlib.import_module(MODULES[name]).main
    return found
