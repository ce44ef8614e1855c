"""A report of a few made-up records and answers, for tests that read its pages."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

from records import a_credit_record, a_record, a_training, estimate

from credit_zoo.credit.record import save as save_credit
from credit_zoo.report.examples import KINDS, SCHEMA, Answer, Asked, Examples, Profile
from credit_zoo.report.site import build
from credit_zoo.report.sources import read_sources
from credit_zoo.results.provenance import Origin
from credit_zoo.results.store import write

SCRIPT = "<script>alert(1)</script>"
# One pixel.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


def an_answer(score=0.0, advantage=-0.5, tokens=("<think>", " x", "=", "7", SCRIPT), **changes):
    """Five tokens: uniform gives each the advantage, pepo twice as much to the first and nothing to the last."""
    credit = {
        "uniform": (advantage,) * 5,
        "pepo": tuple(advantage * weight for weight in (2.0, 1.0, 1.0, 1.0, 0.0)),
        "permuted(pepo)": tuple(advantage * weight for weight in (0.0, 1.0, 2.0, 1.0, 1.0)),
    }
    found = Answer(
        tokens=tokens,
        score=score,
        extracted=SCRIPT,
        mistake="perception" if score < 1 else "",
        advantage=advantage,
        value=0.25,
        truth=(0.0, 0.0, 0.0, score - 0.25, 0.0),
        role=("filler", "filler", "filler", "read", ""),
        error=(False, False, False, score < 1, False),
        credit=credit,
    )
    return replace(found, **changes)


def some_examples(**changes) -> Examples:
    profile = Profile((1.0,) * 10, (0.9,) * 10, (1.1,) * 10, dict.fromkeys(KINDS, 1.0))
    asked = Asked(
        number=7,
        category="angle sum",
        text=f"find x. {SCRIPT}",
        choices=(SCRIPT, "8"),
        truth="8",
        solution="<think> x=8</think><answer>8</answer>",
        picture=PICTURE,
        right=4,
        group=8,
        answers=(an_answer(), an_answer(1.0, 0.5)),
    )
    found = Examples(
        schema=SCHEMA,
        created="2026-01-31T12:00:00Z",
        command=("credit_zoo.report",),
        bench="geometry3k",
        model="small",
        weights="0" * 12,
        files="f" * 16,
        responses=16,
        accuracy=0.5,
        live=16,
        rules={"uniform": "a", "pepo": "b", "permuted(pepo)": "c"},
        questions=(asked,),
        profiles={"pepo": profile, "uniform": profile},
        agreement=((0.0, 0.0), (0.0, 1.0)),
        tokens=dict.fromkeys(KINDS, 10),
        values="the twin's closed form",
        origin=Origin(None, None, {}),
    )
    return replace(found, **changes)


def trained(rule, seed):
    """A run of twelve steps whose four questions came out by the seed; too short a set of questions for a table."""
    curve = tuple({"step": step, "accuracy": step / 20, "reward": 1.0} for step in range(1, 13))
    weights = {} if rule != "uniform" else {"weights": None}
    questions = (0.0, 0.5, 1.0, 0.5) * 5
    record = a_record(rule, seed, training=a_training(steps=12, curve=curve, **weights), notes=(SCRIPT,))
    better = tuple(min(1.0, one + 0.25 * (rule == "pepo")) for one in questions)
    after = replace(
        record.evaluations[1], correctness=better, questions=20, value=sum(better) / 20, categories={}
    )  # fmt: skip
    return replace(record, evaluations=(after,))


def records_folder(folder: Path) -> Path:
    """Three seeds of uniform and of pepo, one of a shuffle, and two measurements of the instrument, one of them noted in
    HTML.
    """
    for seed in range(3):
        for rule in ("uniform", "pepo"):
            write(trained(rule, seed), folder / "results")
    write(trained("permuted_pepo", 0), folder / "results")
    (folder / "reported.csv").write_text("paper,table,model,method,benchmark,metric,value,source,note\n")
    record = a_credit_record(note=SCRIPT)
    numbers = {"efficiency": estimate(1.4), "over_shuffle": estimate(1.3), "decisive": estimate(0.9, 0.05)}
    pepo = replace(record.rules[0], name="pepo", numbers=numbers)
    blank = replace(record.rules[0], name="vppo", numbers={"efficiency": None})
    (folder / "credit").mkdir()
    save_credit(replace(record, rules=(*record.rules, pepo, blank)), folder / "credit" / "one.json")
    save_credit(replace(record, note="plain $x$"), folder / "credit" / "two.json")
    return folder / "results"


def kept_log(folder: Path) -> Path:
    """The folder of runs, in which the first run of pepo has kept its answers."""
    answers = folder / "runs" / f"{trained('pepo', 0).run_id}-geometry3k-grpo-pepo-seed0" / "answers"
    answers.mkdir(parents=True)
    asked = {"id": "q1", "text": f"find y. {SCRIPT}", "answer": "8", "kind": "integer", "choices": [], "precision": None,
             "category": "all", "meta": {}}  # fmt: skip
    texts = ["<think></think><answer>8</answer>", f"<think></think><answer>9{SCRIPT}</answer>"]
    rows = [
        {"head": {"bench": "geometry3k"}},
        {"pass": "sampled", "place": 0, **asked, "texts": texts, "truncated": [False] * 2},
    ]
    content = "".join(f"{json.dumps(row)}\n" for row in rows)
    (answers / "geometry3k-after.jsonl.gz").write_bytes(gzip.compress(content.encode()))
    return folder / "runs"


def made_pages(folder: Path, examples=None):
    """Every page by its path."""
    sources = read_sources(str(records_folder(folder)))
    return build(sources, (some_examples(),) if examples is None else examples, kept_log(folder))
