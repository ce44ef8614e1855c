"""`model.revision` pins everything that is read of a checkpoint, by the trainer and by vLLM alike."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from credit_zoo.policy import model_size, policy
from credit_zoo.policy import processor as encoder
from credit_zoo.policy.policy import SMALL_MODEL, ModelConfig, Policy
from credit_zoo.rollout import vllm_engine, vllm_server
from credit_zoo.rollout.engines import RolloutConfig, sampler
from credit_zoo.vllm_server import main as command

PIN = "c0ffee"


@pytest.fixture
def asked(monkeypatch):
    """What was read, and of which revision; the reading itself is real."""
    seen = []

    def watch(module, name, method=None):
        owner = getattr(module, name) if method else module
        real = getattr(owner, method or name)

        def watched(*args, **options):
            seen.append((name, options.get("revision")))
            return real(*args, **options)

        monkeypatch.setattr(owner, method or name, watched)

    for name in ("AutoTokenizer", "AutoImageProcessor", "AutoProcessor", "GenerationConfig"):
        watch(encoder, name, "from_pretrained")
    watch(encoder, "cached_file")
    for name in ("AutoConfig", "AutoModelForImageTextToText"):
        watch(policy, name, "from_pretrained")
    return seen


def test_a_policy_reads_all_of_one_revision(asked):
    Policy.load(ModelConfig(revision=PIN))
    assert {name for name, _ in asked} >= {
        "AutoTokenizer", "AutoImageProcessor", "GenerationConfig", "cached_file", "AutoConfig",
        "AutoModelForImageTextToText",
    }  # fmt: skip
    assert {revision for _, revision in asked} == {PIN}


def test_a_joint_processor_is_of_that_revision_too(asked, monkeypatch):
    class Kind(encoder.ProcessorMixin):
        @classmethod
        def get_attributes(cls):
            return ["image_processor", "tokenizer"]

        @classmethod
        def get_processor_dict(cls, path, **options):
            asked.append(("settings", options.get("revision")))
            return {}, {}

        @classmethod
        def from_args_and_dict(cls, parts, settings):
            return parts

    monkeypatch.setattr(encoder, "PROCESSOR_MAPPING", {SimpleNamespace: Kind})
    config = SimpleNamespace(model_type="other", image_token_id=3)
    encoder.Encoder.load(str(SMALL_MODEL), config, revision=PIN)
    assert ("settings", PIN) in asked and {revision for _, revision in asked} == {PIN}


def test_the_size_of_a_model_is_that_of_its_revision(asked):
    assert model_size.sizes(ModelConfig(revision=PIN), "no-such-file") is not None
    assert ("AutoConfig", PIN) in asked


@pytest.fixture
def llm(monkeypatch):
    """The settings that vLLM is started with."""
    seen, fake = {}, ModuleType("vllm")
    fake.LLM = lambda **settings: seen.update(settings)
    fake._custom_ops = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "vllm", fake)
    real = vllm_engine.AutoConfig.from_pretrained

    def config(*args, **options):
        seen["config"] = options["revision"]
        return real(*args, **options)

    monkeypatch.setattr(vllm_engine.AutoConfig, "from_pretrained", config)
    return seen


def test_vllm_in_this_process_is_handed_the_revision(llm, tiny):
    object.__setattr__(tiny, "settings", ModelConfig(revision=PIN, trust_remote_code=True))
    sampler(RolloutConfig(engine="vllm", url="none"), tiny, 64)
    names = ("config", "revision", "tokenizer_revision", "code_revision")
    assert ({llm[name] for name in names}, llm["trust_remote_code"]) == ({PIN}, True)


def test_the_server_takes_a_revision(llm, monkeypatch):
    class Server:
        server_port = 1

        def __init__(self, *settings):
            """Nothing is opened."""

        def serve(self):
            """Nothing is served."""

    monkeypatch.setattr(vllm_server, "RolloutServer", Server)
    assert command(["small", "--revision", PIN]) == 0
    assert {llm[name] for name in ("config", "revision", "tokenizer_revision", "code_revision")} == {PIN}
