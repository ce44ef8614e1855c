"""Records for tests: one that is complete, and how to vary it."""

from dataclasses import replace

from credit_zoo.credit.estimates import Estimate
from credit_zoo.credit.record import CreditRecord, RuleCredit, Way
from credit_zoo.results.identity import Identity
from credit_zoo.results.provenance import Machine, Origin
from credit_zoo.results.record import (
    Category,
    Decoding,
    Evaluation,
    Model,
    Piece,
    RunRecord,
    Training,
    TrainingSource,
    Weights,
)


def an_evaluation(correctness=(0.0, 0.5, 1.0, 0.5), **changes) -> Evaluation:
    """After training on the twin of Geometry3K, four questions by two samples."""
    correctness = tuple(correctness)
    value = sum(correctness) / len(correctness)
    found = Evaluation(
        bench="geometry3k",
        bench_version=1,
        split="test",
        twin=True,
        revision="twin-1",
        stage="after",
        questions=len(correctness),
        samples=2,
        decoding=Decoding(temperature=1.0, top_p=1.0, top_k=0, max_tokens=64, seed=1234),
        grader="g1",
        prompt="p1",
        metric="accuracy",
        value=value,
        greedy=0.5,
        pass_at_n=0.75,
        correctness=correctness,
        question_ids="q1",
        extraction_failures=0.125,
        unformatted=0.25,
        truncated=0.0,
        categories={"all": Category(mean=value, count=len(correctness))},
    )
    return replace(found, **changes)


def a_training(**changes) -> Training:
    """Two steps with weights."""
    done = Training(
        source=TrainingSource("geometry3k", 1, "train", twin=True, revision="twin-1", rows=100),
        steps=2,
        settings={"lr": 1e-4, "group": 8, "layers": ("first", "last"), "freeze": True, "kl": None},
        tokens=4000,
        counters={"sampled_prompts": 32, "kept_prompts": 31},
        curve=({"step": 1, "reward": 0.25}, {"step": 2, "reward": 0.5, "entropy": 1.25}),
        weights=Weights(std=0.05, ess=0.99, p05=0.9, p50=1.0, p95=1.1),
    )
    return replace(done, **changes)


def an_identity(**changes) -> Identity:
    """What decides the numbers of a run of the small model."""
    found = Identity(1, "rules v1", "float32", "e1", {"model.lora_rank": 0, "prompt.style": "short"})
    return replace(found, **changes)


def a_record(rule="pepo", seed=0, **changes) -> RunRecord:
    """One run of a rule, complete in every field."""
    record = RunRecord(
        schema=2,
        contract_version=1,
        run_id=f"20260131120000-{rule.replace('_', '-')}-{seed}",
        created="2026-01-31T12:00:00Z",
        command=("credit_zoo.run", f"shaper={rule}"),
        seed=seed,
        shaper=Piece(rule, {} if rule == "uniform" else {"alpha": 0.05}, "c0de"),
        base=Piece("grpo", {"clip": 0.2}, "ba5e"),
        gin=f"{rule}.alpha = 0.05\n",
        model=Model("own/small", "abc123", 1_000_000),
        training=a_training(weights=None) if rule == "uniform" else a_training(),
        evaluations=(an_evaluation(stage="before", correctness=(0.0, 0.0, 1.0, 0.0)), an_evaluation()),
        machine=Machine("a cpu", cores=2, threads=1),
        origin=Origin("0123456789abcdef", dirty=False, packages={"python": "3.11"}),
        seconds=12.5,
        notes=("differentiable",),
        identity=an_identity(),
    )
    return replace(record, **changes)


def estimate(value, half=0.1):
    """A number of the instrument with its interval."""
    return Estimate(value, half / 2, value - half, value + half)


def a_credit_record(**changes):
    """A measurement of the instrument: uniform, a rule and its shuffle, an oracle."""
    numbers = {name: estimate(1.0) for name in ("efficiency", "adam_efficiency", "snr", "cosine", "removed")}
    rule = RuleCredit("uniform", "0" * 16, False, 1.0, 0.5, 1.0, numbers)
    oracle = replace(rule, name="oracle_exact", control=True, numbers={"efficiency": estimate(1.5)})
    worse = replace(rule, name="entropy", numbers={"efficiency": estimate(0.9)})
    shuffle = replace(worse, name="permuted(entropy)", control=True, numbers={"efficiency": estimate(1.01)})
    return CreditRecord(
        **{
            "schema": 1, "created": "2026-01-31T12:00:00Z", "command": ("credit_zoo.credit",), "bench": "geometry3k",
            "bench_version": 1, "source": "geometry3k", "model": "small", "note": "", "weights": "0" * 12,
            "settings": {"bench": "geometry3k", "prompts": 8, "group": 8, "perception": 0.0, "reasoning": 0.0, "forced": False, "data": None},
            "setup": "0" * 16, "batches": 24, "responses": 1536, "accuracy": 0.3, "length": 36.0, "live": 0.9,
            "direction": "the exact gradient of V", "parameters": 10, "numbers": 10, "projection_error": 0.0,
            "noise": {"sampling": estimate(0.6), "ceiling": estimate(2.5)}, "way": Way(0.27, 0.31, 0.18, {}),
            "rules": (rule, worse, shuffle, oracle), "monte_carlo": {},
            "machine": Machine("a cpu", 2, 1), "origin": Origin(None, None, {}), "seconds": 1.0, **changes,
        }
    )  # fmt: skip
