"""The parts of the check, in the order in which a short budget should be spent."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from credit_zoo.hardware.agreement import collectives, kernels, losses, tests
from credit_zoo.hardware.back_ends import attention, sampling
from credit_zoo.hardware.budget import Budget
from credit_zoo.hardware.large_models import models
from credit_zoo.hardware.machine import Here
from credit_zoo.hardware.rollout_engine import rollout_engine

Part = Callable[[Here, Budget], dict[str, Any]]
MODEL, LARGER_MODEL = "qwen2_5_vl_3b", "qwen2_5_vl_7b"

PARTS: Mapping[str, Part] = {
    "losses": losses,
    "collectives": collectives,
    "kernels": kernels,
    "tests": tests,
    "attention": attention,
    "model_3b": partial(models, model=MODEL),
    "sampling": partial(sampling, model=MODEL),
    "rollout_engine": rollout_engine,
    "model_7b": partial(models, model=LARGER_MODEL),
}
