"""Sampling with vLLM, for real: a server in an environment of its own (`make test-vllm`), the small model, a twin."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from credit_zoo.policy.batch_layout import BatchLayout
from credit_zoo.policy.policy import ModelConfig, Policy
from credit_zoo.questions.prompt_format import PromptConfig
from credit_zoo.questions.question_streams import DataConfig, open_questions
from credit_zoo.registry import BENCHMARKS
from credit_zoo.results.store import load_all
from credit_zoo.rollout.engines import RolloutConfig, sampler
from credit_zoo.rollout.sampling import SamplingParams, generators, sample
from credit_zoo.rollout.worker import RolloutWorker

PYTHON = os.environ.get("CREDIT_ZOO_VLLM")  # of the environment that has vLLM
pytestmark = pytest.mark.skipif(not PYTHON, reason="vLLM's environment is made by make test-vllm")
SITE = Path(__file__).with_name("vllm_site")
CPU = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "PYTHONPATH": str(SITE),
}
DRAWN = SamplingParams(group=8, max_tokens=56)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    log = (tmp_path_factory.mktemp("vllm") / "log").open("w+")
    words = [
        PYTHON,
        "-m",
        "credit_zoo.vllm_server",
        "small",
        "--port",
        "0",
        "--dtype",
        "float32",
        "--max-length",
        "256",
    ]
    server = subprocess.Popen(words, env={**os.environ, **CPU}, stdout=log, stderr=log)
    for _ in range(300):
        if found := re.search(r"on (http://\S+)", Path(log.name).read_text()):
            break
        assert server.poll() is None, Path(log.name).read_text()[-3000:]
        time.sleep(1)
    yield found[1]
    server.terminate()
    server.wait(30)


@pytest.fixture
def worker(url):
    policy = Policy.load(ModelConfig())
    made = sampler(RolloutConfig("vllm", url), policy, 256)
    made.sync(policy)
    return RolloutWorker(policy, BENCHMARKS["geometry3k"].factory(), PromptConfig(style="short"), made)


@pytest.fixture(scope="module")
def questions():
    stream = open_questions(BENCHMARKS["geometry3k"].factory(), "test", None, DataConfig(), 1234, shuffle=False)
    return [stream[k] for k in range(32)]


def drawn(worker, questions, sampling=DRAWN, seed=0):
    prompts = worker.encode(questions)
    return prompts, worker.generate(questions, prompts, sampling, generators(seed, range(len(questions))))


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7}, {"temperature": 1.3, "top_k": 0}])
def test_log_probabilities_are_the_trainers(worker, questions, settings):
    sampling = SamplingParams(group=8, max_tokens=56, **settings)
    prompts, found = drawn(worker, questions, sampling)
    with torch.no_grad():
        logp = worker.policy(BatchLayout.of(prompts, found), sampling.temperature).logp
    difference = (logp - found.logp)[found.mask].abs()
    middle, late = (float(difference.quantile(q)) for q in (0.5, 0.99))
    print(
        f"\n{len(difference)} tokens at temperature {sampling.temperature}: mean {difference.mean():.2g}, "
        f"median {middle:.2g}, 99% {late:.2g}, largest {difference.max():.2g}"
    )
    assert difference.mean() < 1e-3
    assert not torch.isin(found.ids[found.mask], torch.tensor(worker.policy.encoder.vision_tokens)).any()


def test_greedy_answers_are_those_of_our_own_sampler(worker, questions):
    greedy = SamplingParams(group=1, temperature=0.0, max_tokens=56)
    prompts, found = drawn(worker, questions, greedy)
    ours = sample(worker.policy, prompts, greedy, generators(0, range(len(questions))))
    for name in ("ids", "mask", "truncated", "row_of"):
        assert torch.equal(getattr(found, name), getattr(ours, name))
    texts = worker.policy.encoder.decode(found.ids, found.mask)
    right = [worker.bench.score(question, text).correct for question, text in zip(questions, texts, strict=True)]
    assert sum(right) / len(right) > 0.8


def test_a_seed_repeats_itself_and_another_one_does_not(worker, questions):
    one, same, other = (drawn(worker, questions[:8], seed=seed)[1].ids for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert len({tuple(row.tolist()) for row in one}) > len(one) / 2


def test_a_response_ends_at_a_stop_token_or_is_truncated(worker, questions):
    _, found = drawn(worker, questions, SamplingParams(group=8, max_tokens=20))
    ended = torch.isin(found.ids, torch.tensor(worker.policy.encoder.stop_tokens)) & found.mask
    assert torch.equal(ended.any(1), ~found.truncated) and found.truncated.any()
    assert found.ids[~found.mask].eq(worker.policy.encoder.pad_token).all()


def test_the_engine_samples_from_the_weights_that_it_was_told(worker, questions):
    """The embedding, and so the head, is turned towards one token: from then on the engine says little else."""
    token = worker.policy.encoder.tokenizer.convert_tokens_to_ids("7")
    with torch.no_grad():
        worker.policy.decoder.norm.weight.zero_()
        worker.policy.decoder.norm.weight[0] = 1.0
        embedding = worker.policy.model.get_input_embeddings().weight
        embedding[:, 0] = 1.0
        embedding[token, 0] = 100.0
    _, before = drawn(worker, questions[:4])
    worker.sampler.sync(worker.policy)
    prompts, after = drawn(worker, questions[:4])
    share = [float((found.ids == token)[found.mask].float().mean()) for found in (before, after)]
    assert share[0] < 0.1 and share[1] > 0.9
    with torch.no_grad():
        logp = worker.policy(BatchLayout.of(prompts, after), 1.0).logp
    torch.testing.assert_close(logp[after.mask], after.logp[after.mask], atol=1e-4, rtol=0)


def run(tmp_path, python, *words, processes=1, **variables):
    """A run in a process of its own; its only record."""
    launch = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}") if processes > 1 else ()
    where = [f"results={tmp_path}/leaderboard/results", f"out={tmp_path}/runs"]
    done = subprocess.run(
        [python, *launch, "-m", "credit_zoo.run", "shaper=pepo", "scale=smoke", "rollout=vllm", "train.lr=1e-4", *words, *where],
        capture_output=True, text=True, timeout=400, env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (record,), _ = load_all(tmp_path / "leaderboard" / "results")
    assert record.identity.settings["rollout.engine"] == "vllm"
    return record, done


def assert_kept_up(record):
    """What sampled was the policy that was trained, at every step."""
    assert record.training.steps > 1 and record.training.curve[0]["grad_norm"] > 0
    for step in record.training.curve:
        assert step["sampler_difference"] < 1e-4 and abs(step["sampler_ratio"] - 1) < 1e-4
        assert step["sampler_ess"] > 0.999 and step["sampler_truncated"] == 0


@pytest.mark.parametrize("where", ["behind a server", "in the trainer's process"])
def test_a_whole_run_writes_a_record_of_a_sampler_that_kept_up(url, tmp_path, where):
    python, address, variables = (sys.executable, url, {}) if where == "behind a server" else (PYTHON, "none", CPU)
    assert_kept_up(run(tmp_path, python, f"rollout.url={address}", **variables)[0])


def test_adapters_that_are_trained_reach_the_engine_in_the_weights_that_they_adapt(tmp_path):
    words = ("rollout.url=none", "model.lora_rank=4", "train.lr=1e-2")
    assert_kept_up(run(tmp_path, PYTHON, *words, **CPU)[0])


def test_each_of_two_processes_has_an_engine_of_its_own_and_both_end_in_peace(tmp_path):
    record, done = run(tmp_path, PYTHON, "rollout.url=none", processes=2, **CPU)
    assert_kept_up(record)
    assert "Traceback" not in done.stderr


def test_an_engine_serves_several_seeds_one_after_the_other(tmp_path):
    """One engine for all: it is told each seed's first weights."""
    done = subprocess.run(
        [PYTHON, "-m", "credit_zoo.run", "shaper=uniform", "scale=smoke", "rollout=vllm", "rollout.url=none", "seed=0,1",
         f"results={tmp_path}/leaderboard/results", f"out={tmp_path}/runs"],
        capture_output=True, text=True, timeout=400, env={**os.environ, "OMP_NUM_THREADS": "1", **CPU},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    records, _ = load_all(tmp_path / "leaderboard" / "results")
    assert {record.seed for record in records} == {0, 1}
    for record in records:
        assert all(step["sampler_difference"] < 1e-4 for step in record.training.curve)


def test_the_check_of_a_gpu_finds_the_engine_in_step_with_the_trainer(tmp_path):
    words = ["rollout_engine", "smallest=true", "device=cpu", f"out={tmp_path}", "name=here"]
    done = subprocess.run(
        [PYTHON, "-m", "credit_zoo.check_gpu", *words], capture_output=True, text=True, timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1", **CPU},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "here.json").read_text())["parts"]["rollout_engine"]
    assert set(found["weights"]) == {"as loaded", "other weights", "adapters"}
    assert all(one["status"] == "done" and one["difference"] < 1e-4 for one in found["weights"].values())
    assert found["memory"]["status"] == "skipped"
