"""What every test file shares: types checked at run time, shapers from outside the repository, the folder of data.

    python -m pytest --plugins path/to/mine.py tests/test_shaper_contract.py -k mine

tests a shaper that stands anywhere.
"""
# ruff: noqa: E402  (the import hook has to come before the imports that it watches)

import os
from pathlib import Path

from jaxtyping import install_import_hook

# Before torch imports it: Triton's kernels run without a GPU. TRITON_INTERPRET=0 tests the compiled ones on one.
os.environ.setdefault("TRITON_INTERPRET", "1")

# Before anything of the package is imported: only then are its annotations checked. Training never sees this.
install_import_hook("credit_zoo", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

import hypothesis
import pytest
import torch

from credit_zoo.policy.policy import ModelConfig, Policy
from credit_zoo.policy.small_model import Size, build_encoder, build_model
from credit_zoo.registry import BENCHMARKS, SHAPERS

torch.set_num_threads(1)
# Derandomised: a red test is red again on the next machine.
hypothesis.settings.register_profile("zoo", max_examples=12, deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("zoo")


def pytest_addoption(parser):
    parser.addoption(
        "--plugins",
        dest="zoo_plugins",  # pytest keeps `plugins` for its own -p
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="a file, or a folder of files, with shapers or benchmarks from outside the repository; may be repeated",
    )


def pytest_configure(config):
    for path in config.getoption("zoo_plugins"):
        for registry in (SHAPERS, BENCHMARKS):
            registry.add_plugin(path)


@pytest.fixture(scope="session")
def zoo_data() -> Path:
    """The folder of golden vectors and sample data: CREDIT_ZOO_DATA, or shared/data beside the repository."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CREDIT_ZOO_DATA", beside))
    if not folder.is_dir():
        pytest.skip("no data folder: set CREDIT_ZOO_DATA")
    return folder


@pytest.fixture
def own_registrations(monkeypatch):
    """Whatever a test adds to the registry of shapers is gone after it, and nothing that was there before."""
    for name in SHAPERS:
        assert SHAPERS[name].name == name  # loads it: a module that is imported once does not register twice
    monkeypatch.setattr(SHAPERS, "_entries", dict(SHAPERS._entries))
    monkeypatch.setattr(SHAPERS, "_plugins", list(SHAPERS._plugins))
    return SHAPERS


TINY = Size(width=32, layers=3, heads=2, key_value_heads=1, feed_forward=64, vision_width=32, vision_layers=1)


@pytest.fixture
def tiny() -> Policy:
    """A policy of the real architecture with random weights, a new one for each test."""
    return tiny_policy()


def tiny_policy() -> Policy:
    """A new one, the same every time."""
    encoder = build_encoder(["find", " find", " the", " area", " of", " side"], TINY)
    policy = Policy(build_model(encoder, TINY, seed=0), encoder, ModelConfig()).eval()
    with torch.no_grad():  # a random head is all but uniform, and rounding would be most of what tokens differ in
        policy.model.get_output_embeddings().weight.mul_(10)
    return policy
