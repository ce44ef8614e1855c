"""What a run is: everything that decides its numbers tells it apart, and nothing else does."""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from records import a_record, a_training, an_evaluation, an_identity
from steps import Coin, Numbers, collector, trainer

import credit_zoo
from credit_zoo.evaluation.harness import EvalConfig, measure
from credit_zoo.experiment import setting_roles as deciding
from credit_zoo.experiment import training_run
from credit_zoo.experiment.config import setting_groups
from credit_zoo.experiment.run_identity import files_digest
from credit_zoo.leaderboard import curves
from credit_zoo.leaderboard import tables as tables
from credit_zoo.leaderboard.sections import section_pages
from credit_zoo.objective.advantages import Grpo
from credit_zoo.objective.base import Base
from credit_zoo.objective.losses import TokenMean
from credit_zoo.objective.policy_losses import PpoClip
from credit_zoo.objective.rewards import Reward
from credit_zoo.policy.export import encoder_digest, export_policy, weights_digest
from credit_zoo.question import Score
from credit_zoo.questions.prompt_format import PromptConfig
from credit_zoo.registry import SHAPERS
from credit_zoo.results.markdown import label
from credit_zoo.results.record import Piece
from credit_zoo.results.source_digest import code_digest
from credit_zoo.results.store import load_all, write
from credit_zoo.rollout.sampling import SamplingParams
from credit_zoo.rollout.worker import RolloutWorker
from credit_zoo.run import main
from credit_zoo.training import loop
from credit_zoo.training.engine import torch_engine
from credit_zoo.training.interrupts import Stopped
from credit_zoo.training.rollout_collection import Collector

RAISE = (
    "the same words and seed now give other {}: raise credit_zoo.LOOP_VERSION, name the change in CHANGELOG.md, and then "
    "pin what this test found. Runs on either side of the change do not compare, and records tell them apart by it"
)


# --- the version of draws and loop ---------------------------------------------------------------------------------


@pytest.fixture
def same(tiny):
    """The tiny policy with weights that no library's way of initialising decides."""
    with torch.no_grad():
        for number, (_, parameter) in enumerate(sorted(tiny.named_parameters())):
            if parameter.ndim > 1:
                drawn = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
                parameter.copy_(drawn * parameter[0].numel() ** -0.5)
        tiny.model.get_output_embeddings().weight.mul_(2)
    return tiny


class Checksum(Coin):
    """Right are answers whose letters add up to a multiple of the number in the question."""

    def score(self, question, response):
        return Score(float(sum(map(ord, response)) % int(question.answer) == 0), response, len(response) % 2 == 0)


def said(ids, mask):
    """A short hash of sampled tokens."""
    rows = [row[keep].tolist() for row, keep in zip(ids, mask, strict=True)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]


DAPO = Base(
    estimator=Grpo(), loss=PpoClip(0.2, 0.28), aggregation=TokenMean(), dynamic_sampling=True, max_resampling_rounds=2
)
# Of three small runs, as they were at this LOOP_VERSION: the hash of each step's sampled tokens, and each step's reward,
# norm of the gradient and spread of the weights. Tokens are the same on every machine; sums are rounded differently.
PINNED = {
    "grpo, uniform": (
        {"shaper": "uniform"},
        SamplingParams(6, max_tokens=8),
        ["598a9d0eab40", "11d13c2dad01", "1216c4ab41a5", "a0b6e71a0fef"],
        [1.444, 3.09, 0.0, 1.5, 3.017, 0.0, 1.5, 2.369, 0.0, 1.5, 2.409, 0.0],
    ),
    "grpo, pepo, top-k, two updates": (
        {"shaper": "pepo", "updates": 2},
        SamplingParams(6, 0.8, 0.9, 7, 8),
        ["406b9e05a6d8", "e97d94486de9", "c7bdc2276890", "8ea257e90077"],
        [1.722, 0.6552, 0.0, 1.611, 0.5422, 0.008425, 1.722, 0.2742, 0.01536, 1.722, 0.1811, 0.01616],
    ),
    "dapo, high_entropy": (
        {"shaper": "high_entropy", "base": DAPO},
        SamplingParams(6, max_tokens=8),
        ["5cd40666da61", "69d181a9b642", "acaefd332b02", "f194b583a4d5"],
        [1.583, 2.761, 0.0, 1.444, 2.057, 0.1003, 1.583, 1.926, 0.2111, 1.556, 1.507, 0.3008],
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_the_samples_and_steps_of_a_tiny_run_are_those_of_this_version_of_the_loop(same, monkeypatch, name):
    settings, sampling, tokens, moved = PINNED[name]
    t = trainer(same, shaper_schedule="linear", **settings)
    worker = RolloutWorker(t.policy, Checksum(), PromptConfig(style="short"))
    engine = torch_engine(t.accelerator, t.policy, rate=1e-3, weight_decay=0.01)
    t = dataclasses.replace(t, engine=engine, collector=Collector(worker, t.base, sampling, Reward(), prompts=3))
    given, sampled, reports = loop.prepare, [], []

    def prepare(trainer, batch, *more):
        sampled.append(said(batch.responses.ids, batch.responses.mask))
        return given(trainer, batch, *more)

    monkeypatch.setattr(loop, "prepare", prepare)
    loop.train_policy(t, Numbers((2, 1, 3)), seed=5, report=lambda report, _: reports.append(report))
    assert sampled == tokens, RAISE.format("samples")
    numbers = [x for r in reports for x in (r.reward, r.grad_norm, r.weight_std)]
    assert numbers == pytest.approx(moved, rel=2e-2, abs=1e-4), RAISE.format("steps of training")


def test_the_answers_of_a_measurement_are_those_of_this_version_of_the_loop(same):
    worker, asked = RolloutWorker(same, Checksum(), PromptConfig(style="short")), [Numbers((2, 3))[k] for k in range(5)]
    texts = []
    given = worker.bench.score
    worker.bench.score = lambda question, text: (texts.append((question.id, text)), given(question, text))[1]
    measure(worker, asked, EvalConfig(5, 3, max_tokens=8, batch=2), "t")
    once = sorted(set(texts))
    assert hashlib.sha256(json.dumps(once).encode()).hexdigest()[:12] == "4cb53431c4fa", RAISE.format("answers")


# --- which settings decide -----------------------------------------------------------------------------------------


def all_settings():
    groups = {group: cls for group, cls in setting_groups().items() if group != "experiment"}
    return {f"{group}.{field.name}" for group, cls in groups.items() for field in dataclasses.fields(cls)}


@pytest.mark.parametrize("name", sorted(all_settings()))
def test_every_setting_decides_or_measures_or_stands_beside(name):
    lists = (deciding.DECIDING, deciding.MEASURING, deciding.BESIDE)
    assert sum(name in one for one in lists) == 1, (
        f"{name}: can it change a number? Enter it in exactly one of DECIDING, MEASURING and BESIDE of "
        "credit_zoo/experiment/setting_roles.py, with the reason in the last"
    )


def test_the_lists_name_only_settings_that_there_are():
    assert {*deciding.DECIDING, *deciding.MEASURING, *deciding.BESIDE} == all_settings()


# --- digests -------------------------------------------------------------------------------------------------------

RULE = """\"\"\"A rule.\"\"\"
from credit_zoo import masked
from helper import half


def weights(x):
    \"\"\"Of tokens.\"\"\"
    return half(x) + 1.0  # why
"""
HELPER = "def half(x):\n    return x / 2\n"


def digest_of(folder, rule=RULE, helper=HELPER):
    folder.mkdir(exist_ok=True)
    (folder / "helper.py").write_text(helper)
    (folder / "rule.py").write_text(rule)
    return code_digest([folder / "rule.py"])


@pytest.mark.parametrize(("old", "new"), [("+ 1.0", "+ 1.5"), ("+ 1.0", "- 1.0"), ("(x) +", "(-x) +"), ("1.0", "1")])
def test_an_edited_formula_is_other_code(tmp_path, old, new):
    assert digest_of(tmp_path / "a") != digest_of(tmp_path / "b", RULE.replace(old, new))


def test_an_edited_helper_beside_the_rule_is_other_code(tmp_path):
    assert digest_of(tmp_path / "a") != digest_of(tmp_path / "b", helper=HELPER.replace("/ 2", "/ 3"))


@pytest.mark.parametrize(
    ("old", "new"),
    [("# why", "# because"), ("A rule.", "The rule."), ("\n\n\n", "\n\n"), ("half(x) + 1.0", "(half(x) + 1.0)")],
)
def test_comments_docstrings_layout_and_places_are_no_code(tmp_path, old, new):
    assert digest_of(tmp_path / "a") == digest_of(tmp_path / "b", RULE.replace(old, new))


@pytest.mark.parametrize("edited", ["masked.py", "types.py", "shapers/_gated_fusion.py", "shapers/pepo.py"])
def test_what_a_rule_imports_of_the_package_is_its_code(tmp_path, edited):
    copy = tmp_path / "credit_zoo"
    shutil.copytree(Path(credit_zoo.__file__).parent, copy, ignore=shutil.ignore_patterns("*.json", "*.safetensors"))
    words = "import pathlib, credit_zoo.results.source_digest as s; f = pathlib.Path(s.__file__).parents[1] / 'shapers/pepo.py'"
    command = [sys.executable, "-c", f"{words}; print(s.__file__, s.code_digest([f]))"]
    before = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    (copy / edited).write_text((copy / edited).read_text() + "\nMORE = 1\n")
    after = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert str(copy) in before and before.split()[0] == after.split()[0]
    assert before != after


def test_a_package_of_rules_counts_with_its_relative_imports_and_faces(tmp_path):
    digests = []
    for place, value in (("a", 1), ("b", 2)):
        room = tmp_path / place / "rules" / "parts"
        room.mkdir(parents=True)
        (room.parent / "__init__.py").write_text("")
        (room / "__init__.py").write_text("import lazy_loader\n")
        (room / "__init__.pyi").write_text("from .deep import strength as strength\n")
        (room / "deep.py").write_text(f"def strength():\n    return {value}\n")
        (room.parent / "mine.py").write_text("from .parts import strength\nfrom rules import parts\n")
        digests.append(code_digest([room.parent / "mine.py"]))
    assert digests[0] != digests[1]


def test_rules_and_bases_have_codes_of_their_own():
    assert len({deciding.shaper_code(name) for name in SHAPERS}) == len(list(SHAPERS))


def test_weights_are_told_apart_bit_for_bit_and_by_their_numbers(tiny):
    found = weights_digest(tiny)
    assert weights_digest(tiny) == found
    weight = tiny.decoder.layers[0].mlp.gate_proj.weight
    with torch.no_grad():
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    assert weights_digest(tiny) != found
    half = tiny.to(torch.bfloat16)
    in_half, in_full = weights_digest(half), weights_digest(half.float())
    assert in_half != in_full, "equal numbers held otherwise make another run"


def test_the_encoder_is_told_apart_by_what_it_makes_of_a_question(tiny):
    found = encoder_digest(tiny.encoder)
    assert encoder_digest(tiny.encoder) == found
    images, tokenizer = tiny.encoder.image_processor, tiny.encoder.tokenizer
    given, template = images.image_mean, tokenizer.chat_template
    images.image_mean = [0.1, 0.2, 0.3]
    scaled = encoder_digest(tiny.encoder)
    images.image_mean, tokenizer.chat_template = given, template + " the"
    told = encoder_digest(tiny.encoder)
    tokenizer.chat_template = template
    ended = encoder_digest(dataclasses.replace(tiny.encoder, stops=(0, 1)))
    assert len({found, scaled, told, ended}) == 4


# --- arms and pairs ------------------------------------------------------------------------------------------------


def runs(rule, level, code="c0de", seeds=(0, 1, 2), **changes):
    settings = {} if rule == "uniform" else {"alpha": 0.05}
    scores = (level,) * 4
    return [
        a_record(rule, seed, shaper=Piece(rule, settings, code), evaluations=(an_evaluation(scores),), **changes)
        for seed in seeds
    ]


def named(records, suffix, created="2026-02-01T00:00:00Z"):
    """Later runs beside those of the same rule and seed."""
    return [dataclasses.replace(one, run_id=f"{one.run_id}-{suffix}", created=created) for one in records]


def board(*records):
    return tables.table(tables.measurements(records))


def shown(*records):
    return "\n".join(section_pages(board(*records), {}).values())


def test_two_codes_of_one_rule_are_two_arms_told_apart_and_the_older_says_so():
    old, new = runs("pepo", 0.4, "0123456789"), named(runs("pepo", 0.6, "fedcba9876"), "b")
    arms = board(*runs("uniform", 0.5), *old, *new)
    pepo = {arm["value"]: arm for arm in arms.to_dict("records") if arm["shaper"]["name"] == "pepo"}
    assert {round(value, 9): sorted(arm["by_seed"]) for value, arm in pepo.items()} == {0.4: [0, 1, 2], 0.6: [0, 1, 2]}
    markdown = shown(*runs("uniform", 0.5), *old, *new)
    assert "pepo (alpha=0.05) @012345 |" in markdown and "pepo (alpha=0.05) @fedcba |" in markdown
    (line,) = [line for line in markdown.splitlines() if "older code" in line and line.startswith("|")]
    assert "@012345 |" in line and "older code than @fedcba" in line
    assert "| uniform |" in markdown, "what needs no digest has none"


def test_one_code_needs_no_digest_in_its_label():
    assert " @" not in shown(*runs("uniform", 0.5), *runs("pepo", 0.6))


def test_differences_are_to_the_reference_that_ran_last():
    old, new = runs("uniform", 0.2, "0123456789"), named(runs("uniform", 0.5, "fedcba9876"), "b")
    arms = board(*old, *new, *runs("pepo", 0.6))
    (pepo,) = [arm for arm in arms.to_dict("records") if arm["shaper"]["name"] == "pepo"]
    assert pepo["difference"].interval.value == pytest.approx(0.1)


def test_the_shuffle_of_a_rule_is_found_whatever_their_codes():
    assert "own shuffle" in shown(*runs("pepo", 0.6, "a1"), *runs("permuted_pepo", 0.5, "b2"))


@pytest.mark.parametrize(
    "identity",
    [
        None,
        an_identity(loop_version=2),
        an_identity(dtype="bfloat16"),
        an_identity(encoder="e2"),
        an_identity(settings={"model.lora_rank": 8, "model.lora_alpha": 256.0, "prompt.style": "short"}),
    ],
    ids=["schema 1", "loop", "dtype", "encoder", "lora"],
)
def test_runs_of_another_identity_share_no_table_no_pair_and_no_panel(identity):
    uniform, pepo = runs("uniform", 0.5), runs("pepo", 0.6, identity=identity)
    arms = board(*uniform, *pepo)
    assert arms["section"].nunique() == 2 and arms["difference"].isna().all()
    assert shown(*uniform, *pepo).count("# Trained on") == 2
    done = a_training(steps=12, curve=tuple({"step": step, "accuracy": 0.5} for step in range(1, 13)))
    drawn = [dataclasses.replace(record, training=done) for record in (uniform[0], pepo[0])]
    assert [len(panel.lines) for panel in curves.panels(drawn)] == [1, 1]


def test_runs_of_schema_1_are_shown_and_said_to_be_without_identity():
    markdown = shown(*runs("uniform", 0.5, identity=None), *runs("pepo", 0.6, identity=None))
    assert "recorded under schema 1" in markdown and "identity: not recorded (schema 1)" in markdown
    assert "+10.00" in markdown, "among themselves they compare as before"


def test_a_run_that_supersedes_another_takes_its_place_and_says_so(tmp_path):
    old = a_record(evaluations=(an_evaluation((0.25,) * 4),))
    new = a_record(run_id="a-later-run", created="2026-02-01T00:00:00Z", supersedes=(old.run_id,))
    for record in (old, new):
        write(record, tmp_path)
    assert load_all(tmp_path) == ([new], [])
    assert f"supersedes {old.run_id}" in shown(new)


# --- through the command -------------------------------------------------------------------------------------------

SIZES = (
    *("scale=smoke", "eval.questions=2", "eval.samples=2", "eval.max_tokens=10", "eval.greedy=false"),
    *("steps=2", "train.prompts=2", "sampling.group=2", "sampling.max_tokens=10"),
)


@pytest.fixture
def words(tiny, tmp_path):
    model = export_policy(tiny, tmp_path / "checkpoint")
    return [*SIZES, f"model.path={model}", f"results={tmp_path}/leaderboard/results", f"out={tmp_path}/runs"]


@pytest.fixture
def stopping(monkeypatch):
    """Runs are told to stop before their first step, until `monkeypatch` is undone."""

    def stop(*_):
        raise Stopped(0, 143)

    monkeypatch.setattr(training_run, "train_policy", stop)
    return monkeypatch


@pytest.fixture
def rows(tmp_path):
    """A folder of real questions, and how to write it."""
    folder = tmp_path / "set"
    folder.mkdir()

    def lay_out(answer="5", grey=90):
        from PIL import Image

        Image.new("RGB", (56, 56), (grey, 90, 30)).save(folder / "p.png")
        asked = [{"id": k, "image": "p.png", "problem_text": f"Find x{k}.", "answer": answer} for k in range(4)]
        parts = ("train", "train", "test", "test")
        lines = [json.dumps({**row, "data_type": part}) for row, part in zip(asked, parts, strict=True)]
        (folder / "annotations.jsonl").write_text("\n".join(lines) + "\n")
        return f"data={folder}"

    return lay_out


def test_a_record_says_what_decides_its_numbers(words, tmp_path):
    assert main(["shaper=pepo", "base=dapo", *words]) == 0
    (found,), problems = load_all(tmp_path / "leaderboard" / "results")
    assert problems == [] and found.identity is not None
    assert (found.identity.loop_version, found.identity.dtype) == (credit_zoo.LOOP_VERSION, "float32")
    assert found.shaper.code == code_digest([SHAPERS["pepo"].file])
    assert all((found.base.code, found.training.source.code, *(one.code for one in found.evaluations)))
    told = {*found.identity.settings, *found.training.settings, *(f"base.{key}" for key in found.base.settings)}
    told |= {
        "train.steps",
        "train.shaper_schedule",
        "rollout.cap",
        "model.lora_alpha",
        "model.similarity_layers",
        "train.view",
        "data.length",
    }  # elsewhere, or not in use
    assert told == set(deciding.DECIDING)


@pytest.mark.parametrize("change", [{"answer": "7"}, {"grey": 200}], ids=["rows", "pictures"])
def test_a_folder_that_changed_since_the_start_is_refused_and_both_states_are_named(
    words, rows, tmp_path, capsys, stopping, change
):
    typed = ["bench=geometry3k", rows(), *words]
    assert main(typed) == 143
    (kept,) = (tmp_path / "runs").glob("*/answers/*before*")
    rows(**change)
    capsys.readouterr()
    assert main([*typed, "resume=true"]) == 2
    err = capsys.readouterr().err
    assert re.search(r"questions of geometry3k: geometry3k \(real, .* then, geometry3k \(real, .* now", err)
    states = re.search(r"asked: (\w+) then, .* asked: (\w+) now", err)
    assert states and states[1] != states[2]
    assert kept.exists() and not list((tmp_path / "leaderboard").rglob("*.json"))
    rows()
    stopping.undo()
    assert main([*typed, "resume=true"]) == 0
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 1, "put back, it goes on"


def test_a_digest_of_files_sees_a_picture_repainted_in_as_many_bytes(tmp_path):
    file = tmp_path / "set" / "a" / "1.bmp"
    file.parent.mkdir(parents=True)
    seen = set()
    for content, name in ((b"red", "1.bmp"), (b"blu", "1.bmp"), (b"blu", "2.bmp")):
        file.unlink(missing_ok=True)
        file = file.with_name(name)
        file.write_bytes(content)
        seen.add(files_digest(tmp_path / "set"))
    assert len(seen) == 3
    assert files_digest(tmp_path / "set") == files_digest(tmp_path / "set")


@pytest.mark.parametrize("what", ["shaper_code", "base_code", "bench_code", "encoder_digest"])
def test_code_that_changed_since_the_start_is_refused(words, capsys, stopping, what):
    from credit_zoo.experiment import run_identity as identity

    assert main(words) == 143
    stopping.setattr(identity, what, lambda *_: "edited")
    assert main([*words, "resume=true"]) == 2
    assert "then, edited now" in capsys.readouterr().err


def test_a_start_anew_beside_a_refused_one_is_what_resume_finds(words, tmp_path, capsys, stopping):
    from credit_zoo.experiment import run_identity as identity

    assert main(words) == 143
    stopping.setattr(identity, "shaper_code", lambda *_: "edited")
    assert main(words) == 143
    stopping.setattr(training_run, "train_policy", loop.train_policy)
    assert main([*words, "resume=true"]) == 0
    ended = [json.loads(file.read_text())["ended"] for file in (tmp_path / "runs").glob("*/run.json")]
    assert sorted(ended) == [False, True]


def test_settings_that_change_no_number_do_not_hinder_a_resume(words, capsys, stopping):
    assert main(words) == 143
    stopping.undo()
    more = (
        "train.micro_batch=1",
        "model.logits_at_once=1000",
        "model.gradient_checkpointing=true",
        "checkpoint.every=1",
    )
    assert main([*words, *more, "resume=true"]) == 0
    assert re.search(r"resume  .*/runs/", capsys.readouterr().out)


@pytest.mark.parametrize("word", ["train.lr=0.5", "model.layout=plain", "eval.samples=1", "pepo.alpha=0.2"])
def test_settings_that_decide_make_another_run(words, capsys, stopping, word):
    assert main(["shaper=pepo", *words]) == 143
    name = word.partition("=")[0]
    typed = [one for one in words if not one.startswith(f"{name}=")]
    assert main(["shaper=pepo", *typed, word, "resume=true"]) == 143
    assert "a new one starts" in capsys.readouterr().out


def test_a_rerun_may_take_the_place_of_a_run_of_its_own_kind_alone(words, tmp_path, capsys):
    results = tmp_path / "leaderboard" / "results"
    assert main(words) == 0
    ((old,), _) = load_all(results)
    assert main([*words, f"supersedes={old.run_id}", "seed=1"]) == 2
    assert "seed 0" in capsys.readouterr().err
    assert main([*words, "supersedes=20260101000000-none"]) == 2
    assert main([*words, f"supersedes={old.run_id}"]) == 0
    ((new,), problems) = load_all(results)
    assert (new.supersedes, problems) == ((old.run_id,), [])


PLUGIN = """\"\"\"Everything times a number.

    A[b,t] = 2 A[b]

Paper: none.
\"\"\"
from dataclasses import dataclass
from credit_zoo.registry import SHAPERS


@SHAPERS.register("twice", paper="none")
@dataclass(frozen=True)
class Twice:
    \"\"\"No settings.\"\"\"

    def __call__(self, x):
        return x.weighted(2.0 * x.mask)
"""


@pytest.mark.slow
def test_a_plugin_that_was_edited_is_another_arm_on_the_page(words, tmp_path):
    for factor in ("2.0", "3.0"):
        (tmp_path / "twice.py").write_text(PLUGIN.replace("2.0", factor))
        command = [sys.executable, "-m", "credit_zoo.run", "shaper=twice", f"plugins={tmp_path}/twice.py", *words]
        subprocess.run(command, check=True, capture_output=True)
    found, problems = load_all(tmp_path / "leaderboard" / "results")
    assert problems == [] and len({record.shaper.code for record in found}) == 2
    names = [label(shaper) for shaper in board(*found)["shaper"]]
    assert all(any(f"@{record.shaper.code[:6]}" in name for name in names) for record in found)


# --- what was sampled, and what a filter left ----------------------------------------------------------------------


def test_statistics_are_of_all_that_was_sampled_and_beside_it_of_what_was_kept(tiny, monkeypatch):
    """Every other prompt is always right and dropped: what is kept says less than what was measured."""
    t = trainer(tiny, base=DAPO)
    seen, given = [], Collector.__call__
    monkeypatch.setattr(Collector, "__call__", lambda *words: (seen.append(given(*words)), seen[-1])[1])
    reports = []
    t = dataclasses.replace(t, train=dataclasses.replace(t.train, steps=1), collector=collector(t.policy, t.base))
    loop.train_policy(t, Numbers((1, 2)), seed=0, report=lambda report, _: reports.append(report))
    (report,), (rollout,) = reports, seen
    kept = rollout.batch
    others = report.sampled_prompts - report.kept_prompts
    assert report.kept_prompts == 2 and others >= 2
    assert report.kept_accuracy == pytest.approx(float(kept.correct.mean()))
    right = rollout.sums_asked.correct
    assert report.accuracy == pytest.approx(right / (6 * report.sampled_prompts))
    assert right == pytest.approx(6 * others + float(kept.correct.sum())), "the others are always right"
    assert report.kept_tokens == int(kept.responses.mask.sum()) < report.sampled_tokens
    assert report.length == pytest.approx(report.sampled_tokens / (6 * report.sampled_prompts))
    assert report.kept_reward == pytest.approx(float(kept.reward.mean()))


def test_a_step_that_kept_nothing_says_nothing_of_what_was_kept(tiny):
    t, reports = trainer(tiny, base=dataclasses.replace(DAPO, max_resampling_rounds=0)), []
    t = dataclasses.replace(t, train=dataclasses.replace(t.train, steps=1), collector=collector(t.policy, t.base))
    loop.train_policy(t, Numbers((1,)), seed=0, report=lambda report, _: reports.append(report))
    told = reports[0].scalars()
    assert (told["accuracy"], told["sampled_prompts"], told["kept_prompts"], told["kept_tokens"]) == (1.0, 2, 0, 0)
    assert not {"kept_accuracy", "kept_reward", "kept_length", "kept_truncated"} & told.keys()


def test_the_table_shows_the_budget_that_was_sampled():
    training = a_training(tokens=6767, counters={"sampled_prompts": 4336, "kept_prompts": 1600, "kept_tokens": 4407})
    markdown = shown(*runs("pepo", 0.5, training=training))
    spent = markdown[markdown.index("| shaper | base | runs") :]
    header, _, line = spent.splitlines()[:3]
    cells = dict(zip(*([cell.strip() for cell in one.split("|")] for one in (header, line)), strict=True))
    assert (cells["prompts"], cells["tokens"]) == ("4336", "6.8")


def test_a_budget_that_is_not_known_is_blank():
    arms = board(*runs("pepo", 0.5, training=a_training(tokens=None)))
    assert arms["tokens"].isna().all()
