"""The probe: AUROCs by hand, roles of tokens, chance, deterministic figures, the record and its tables."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
import torch

from credit_zoo.errors import UsageError
from credit_zoo.evaluation.baselines import (
    blank_image,
    box_candidates,
    constant_accuracy,
    constant_answer,
    uniform_choice,
)
from credit_zoo.evaluation.harness import EvalConfig, measure
from credit_zoo.lab import probe as command
from credit_zoo.lab.auroc import auroc
from credit_zoo.lab.probe import Probe, check, draw, examples, probe_policy, rules, shaper_inputs, shaper_weights
from credit_zoo.lab.probe_figures import mistakes, separations, spreads, tasks
from credit_zoo.lab.probe_record import (
    Separation,
    credit_table,
    load,
    load_all,
    mistakes_table,
    probe_text,
    rounded,
    save,
)
from credit_zoo.policy.policy import ModelConfig, Policy
from credit_zoo.probe import main as start
from credit_zoo.question import Question
from credit_zoo.questions.prompt_format import PromptConfig
from credit_zoo.registry import BENCHMARKS
from credit_zoo.results.stats import probability_of_improvement
from credit_zoo.results.store import CorruptRecord
from credit_zoo.rollout.worker import RolloutWorker
from credit_zoo.truth.token_roles import NO_ROLE, ROLES, Labels, label, token_spans
from credit_zoo.truth.truth_signals import token_labels
from credit_zoo.twins.canvas import WHITE
from credit_zoo.twins.contract import Verdict
from credit_zoo.twins.solutions import SolutionWriter

GEOMETRY = BENCHMARKS["geometry3k"].factory()
FEW = Probe(questions=3, samples=4, training=20, batch=2, max_tokens=24)


def area(positive, negative, **settings):
    scores = np.array([*positive, *negative], dtype=float)
    kinds = np.arange(len(scores)) < len(positive)
    return auroc(scores, kinds, np.arange(len(scores)) % 2, **settings)


# --- AUROC -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("positive", "negative", "value"),
    [
        ((3, 4), (1, 2), 1.0),
        ((1, 2), (3, 4), 0.0),
        ((2, 4), (1, 3), 0.75),  # 2 > 1, 4 > 1, 4 > 3, but not 2 > 3
        ((5, 5), (5, 5, 5), 0.5),
        ((1, 2), (1, 0), 0.875),  # 1 = 1 counts half
    ],
)
def test_the_auroc_by_hand_with_ties_at_half(positive, negative, value):
    assert area(positive, negative).value == value


def test_the_auroc_is_the_mann_whitney_statistic_whatever_the_clusters():
    rng = np.random.default_rng(0)
    scores, kinds = rng.integers(0, 9, 300).astype(float), rng.random(300) < 0.3
    found = [auroc(scores, kinds, rng.integers(0, count, 300)) for count in (1, 7, 60)]
    expected = probability_of_improvement(scores[kinds], scores[~kinds])
    assert [one.value for one in found] == pytest.approx([expected] * 3)
    assert found[0].low == pytest.approx(found[0].high)  # one question: nothing to draw
    assert found[2].low < expected < found[2].high


def test_its_interval_is_that_of_drawing_whole_questions_with_replacement():
    rng = np.random.default_rng(1)
    question = np.repeat(np.arange(12), 10)
    kinds = rng.random(120) < 0.4
    scores = rng.normal(0, 1, 120) + 0.8 * kinds + np.repeat(rng.normal(0, 1, 12), 10) * kinds
    drawn = []
    for _ in range(800):
        at = np.concatenate([np.flatnonzero(question == one) for one in rng.integers(0, 12, 12)])
        drawn.append(probability_of_improvement(scores[at][kinds[at]], scores[at][~kinds[at]]))
    found = auroc(scores, kinds, question)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.02)
    assert found == auroc(scores, kinds, question)


def test_an_auroc_without_one_kind_or_of_scores_that_are_not_finite_is_refused():
    for positive, negative, words in (((), (1, 2), "either kind"), ((1,), (), "either kind"), ((1,), (np.nan,), "fin")):
        with pytest.raises(UsageError, match=words):
            area(positive, negative)


# --- tokens ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    return Policy.load(ModelConfig(), frozen=True)


def example_of(family):
    found = (GEOMETRY.twin.example("test", index) for index in range(400))
    return next(one for one in found if one.scene["family"] == family)


def texts_by_label(policy, text, labels):
    """The tokens of a text's one response by their role, and those of its first slip."""
    ids, mask = policy.encoder.responses([text])
    tokens = [policy.encoder.tokenizer.decode([token], skip_special_tokens=True) for token in ids[0, mask[0]]]
    roles = {
        role: [t for t, k in zip(tokens, labels.role[0], strict=False) if k == ROLES.index(role)] for role in ROLES
    }
    return roles, [t for t, slip in zip(tokens, labels.error[0], strict=False) if slip]


def labelled(policy, text, verdict):
    ids, mask = policy.encoder.responses([text])
    rows = [ids[0, mask[0]].tolist()]

    def decode(tokens):
        return policy.encoder.tokenizer.decode(tokens, skip_special_tokens=True)

    return label(decode, rows, [range(len(rows[0]))], [verdict], ids.shape[1])


def test_spans_of_tokens_join_to_the_text_with_spaces_and_tags(small):
    tokenizer = small.encoder.tokenizer
    text = "<think> A=50; sum=50+60=110; x=180-110=70</think><answer>70</answer>"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    spans = token_spans(lambda tokens: tokenizer.decode(tokens, skip_special_tokens=True), ids)
    assert "".join(text[start:end] for start, end in spans) == text
    assert [text[start:end] for start, end in spans] == [*(tokenizer.decode([one]) for one in ids[:-1]), ""]
    assert {"<think>", " A", " sum", "</think>", "5"} <= {text[start:end] for start, end in spans}


def test_a_character_of_several_tokens_belongs_to_the_last_of_them():
    spelled = [b"a", b"\xe2", b"\x82", b"\xac", b"b"]
    spans = token_spans(lambda ids: b"".join(spelled[one] for one in ids).decode(errors="replace"), range(5))
    assert spans[0] == (0, 1) and spans[-1] == (2, 3)
    assert all(start <= end for start, end in spans) and [end for _, end in spans][-1] == 3
    flickering = {0: "", 1: "??", 2: "e"}  # two replacements that become one character
    assert token_spans(lambda ids: flickering[len(ids)], range(2)) == ((0, 1), (1, 1))


def test_roles_and_the_first_slip_of_a_misread_solution(small):
    example = example_of("angle sum")
    place = [k for k, span in enumerate(example.solution) if span.role == "read"]
    pieces = [span.text for span in example.solution]
    right, wrong = pieces[place[0]], str(int(pieces[place[1]]) + 3)
    pieces[place[1]] = wrong
    slipped = "".join(pieces)
    verdict = GEOMETRY.twin.check(example, slipped)
    assert verdict.first_error == "perception"
    roles, slip = texts_by_label(small, slipped, labelled(small, slipped, verdict))
    assert roles["read"] == list(right + wrong) and slip == list(wrong)
    assert "<think>" in roles["filler"] and "</answer>" in roles["filler"] and "=" in roles["filler"]
    assert "".join(roles["derived"]).isdigit()


def test_nothing_has_a_role_behind_the_place_where_the_form_was_left(small):
    example = example_of("angle sum")
    first, rest = "".join(s.text for s in example.solution[:2]), "; Q=3</think><answer>3</answer>"
    verdict = GEOMETRY.twin.check(example, first + rest)
    assert not verdict.followed and verdict.first_error is None
    labels = labelled(small, first + rest, verdict)
    known = len(small.encoder.tokenizer(first, add_special_tokens=False)["input_ids"])
    assert (labels.role[0, :known] != NO_ROLE).all() and (labels.role[0, known:] == NO_ROLE).all()
    assert not labels.error.any()


def test_a_token_across_two_roles_has_that_of_most_characters_and_the_content_where_they_tie():
    verdict = Verdict(True, None, (), ((0, 3, "filler"), (3, 5, "read"), (5, 6, "filler")))
    ends = [0, 2, 4, 6]  # filler, one of each, one of each
    labels = label(lambda ids: "x" * ends[len(ids)], [[7, 7, 7]], [[0, 2, 3]], [verdict], 5)
    assert labels.role.tolist() == [[2, NO_ROLE, 0, 0, NO_ROLE]]
    assert label(lambda ids: "x" * 4 * len(ids), [[7]], [[0]], [verdict], 1).role.tolist() == [[2]]


# --- figures -----------------------------------------------------------------------------------------------------

MADE = Labels(
    role=np.array([[2, 0, 1, 2], [0, 1, 1, -1], [0, 2, 1, -1]], dtype=np.int8),
    error=np.array([[False, True, False, False], [False, True, False, False], [False, True, False, False]]),
)


def test_the_tasks_of_a_made_batch():
    found = tasks(MADE, np.array([False, True, True]))
    assert [(int(p.sum()), int(n.sum())) for p, n in found.values()] == [(3, 7), (3, 3), (1, 2)]
    first, others = found["first_slip"]  # a right response and one that slipped in a copied operand do not count
    assert first.tolist()[1] == [False, True, False, False] and not first[[0, 2]].any()
    assert others.tolist()[1] == [True, False, True, False] and not others[[0, 2]].any()


def test_separations_of_a_made_batch():
    split = tasks(MADE, np.array([False, True, True]))
    measured = {"good": (MADE.role == 0).astype(np.float32), "flat": np.ones((3, 4), dtype=np.float32)}
    found = {(one.name, one.task): one for one in separations("signal", measured, split, np.arange(3))}
    assert found["good", "read_rest"].value == 1 and found["flat", "read_rest"].value == 0.5
    assert found["good", "first_slip"].value == 0.25  # behind the read token, level with the derived one
    nothing = {task: (p & False, n) for task, (p, n) in split.items()}
    (empty,) = {one.value for one in separations("shaper", measured, nothing, np.arange(3))}
    assert empty is None


def test_mistakes_count_the_first_slip_of_wrong_responses_and_all_slips_of_all():
    verdicts = [
        Verdict(True, None, (), ()),
        Verdict(True, "perception", (("perception", 0, 1), ("reasoning", 2, 3)), ()),
        Verdict(False, "reasoning", (("reasoning", 0, 1),), ()),
        Verdict(False, None, (), ()),
        Verdict(True, "perception", (("perception", 0, 1),), ()),  # right all the same
    ]
    found = mistakes(np.array([False, True, True, True, False]), verdicts)
    assert (found.wrong, found.perception, found.reasoning, found.left) == (3, 1 / 3, 1 / 3, 1 / 3)
    assert found.unexplained == 0 and (found.perception_slips, found.reasoning_slips) == (0.4, 0.4)
    assert mistakes(np.array([False]), verdicts[:1]).left is None


def test_spreads_by_hand():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    by_role = {one.role: one for one in spreads({"logp": values}, MADE)}
    read = by_role["read"]  # 1, 4 and 8
    assert (read.count, read.mean, read.p50) == (3, pytest.approx(13 / 3), 4.0)
    assert read.sd == pytest.approx(np.std([1, 4, 8])) and read.p05 == pytest.approx(1.3)


# --- chance ------------------------------------------------------------------------------------------------------


def asked(answer, kind="math", choices=()):
    return Question(f"q{answer}", None, "?", answer, kind, choices)


def test_chance_by_hand():
    questions = [asked("3"), asked("5"), asked("3"), asked("7")]
    assert constant_answer(GEOMETRY, questions) == "3" and constant_accuracy(GEOMETRY, questions, "3") == 0.5
    assert uniform_choice(GEOMETRY, questions) is None
    choosing = [asked("a", "choice", ("a", "b")), asked("d", "choice", ("b", "c", "d", "e")), asked("9")]
    assert uniform_choice(GEOMETRY, choosing) == (1 / 2 + 1 / 4) / 2


def test_the_constant_box_is_the_best_of_frequent_and_centre_boxes():
    boxes = [asked(answer, "box") for answer in ("0,0,4,4", "8,8,12,12", "3,3,9,9", "2,3,9,9", "0,0,12,12")]
    candidates = box_candidates(Counter(box.answer for box in boxes))
    assert "[3,3,9,9]" in candidates and "[0,0,12,12]" in candidates and "[4.5,4.5,7.5,7.5]" in candidates
    best = constant_answer(GEOMETRY, boxes)
    assert all(
        constant_accuracy(GEOMETRY, boxes, best) >= constant_accuracy(GEOMETRY, boxes, one) for one in candidates
    )


# --- the probe ---------------------------------------------------------------------------------------------------


def test_a_blank_picture_is_blank_and_nothing_else_changes():
    question = GEOMETRY.twin.example("test", 0).question
    found = blank_image(question)
    assert found.image.size == question.image.size and found.image.getcolors() == [(84 * 84, WHITE)]
    assert dataclasses.replace(found, image=None) == dataclasses.replace(question, image=None)
    assert question.image.getcolors() != found.image.getcolors()
    with pytest.raises(UsageError, match="no picture"):
        blank_image(dataclasses.replace(question, image=None))


def test_its_answers_are_those_of_the_harness_and_its_questions_are_held_out(tiny):
    worker = RolloutWorker(tiny, GEOMETRY, PromptConfig(style="short"))
    chosen = examples(worker, FEW, "test", FEW.questions)
    questions = [one.question for one in chosen]
    assert [q.id for q in questions] == [f"geometry3k-test-{FEW.seed}-{k}" for k in range(3)]
    drawn = draw(worker, questions, FEW)
    assert drawn.group.tolist() == [0] * 4 + [1] * 4 + [2] * 4 and drawn.ids.shape == (12, 24)
    harness = measure(worker, questions, EvalConfig(3, 4, max_tokens=24, greedy=False, batch=2, seed=FEW.seed), "t")
    assert drawn.score.view(3, 4).mean(1).tolist() == pytest.approx(list(harness.mean))
    assert set(drawn.signals) >= {"logp", "entropy", "visual_similarity"}
    assert len(check(worker, chosen, drawn)) == 12


def test_a_taught_solution_is_labelled_whole_and_weighed_by_every_rule_but_the_uniform_one(small):
    worker = RolloutWorker(small, GEOMETRY, PromptConfig(style="short"))
    chosen = examples(worker, FEW, "test", 3)
    drawn = draw(worker, [one.question for one in chosen], FEW)
    mixed = dataclasses.replace(drawn, score=torch.tensor([1.0, 0, 0, 0] * 3))
    weighed = shaper_weights(shaper_inputs(mixed))
    assert weighed.keys() == set(rules())
    assert all(
        values.shape == drawn.mask.shape and not values[~drawn.mask.numpy()].any() for values in weighed.values()
    )
    texts = ["".join(s.text for s in GEOMETRY.twin.solution(one, SolutionWriter())) for one in chosen]
    ids, mask = small.encoder.responses(texts)
    taught = dataclasses.replace(drawn, ids=ids, mask=mask, group=torch.arange(3), score=torch.ones(3))
    verdicts = check(worker, chosen, taught)
    labels = token_labels(worker.policy.encoder, taught.ids, taught.mask, verdicts)
    last = mask.sum(1).numpy() - 1
    assert all(
        (labels.role[row, : last[row]] >= 0).all() and labels.role[row, last[row]] == NO_ROLE for row in range(3)
    )
    assert mistakes(taught.wrong, verdicts).wrong == 0


@pytest.fixture(scope="module")
def made(small):
    return probe_policy(small, FEW, ["questions=3"])


def figures(record):
    return dataclasses.replace(record, created="", seconds=0.0)


def test_the_same_settings_give_the_same_figures_and_another_seed_others(small, made):
    assert figures(probe_policy(small, FEW, ["questions=3"])) == figures(made)
    other = dataclasses.replace(FEW, seed=5)
    assert probe_policy(small, other, []).spreads != made.spreads


def test_the_record_says_what_was_probed(made):
    assert made.command == ("credit_zoo.probe", "questions=3") and made.twin_version == GEOMETRY.twin.version
    assert made.settings["samples"] == 4 and "out" not in made.settings and made.accuracy.with_choices == 0
    assert made.mistakes.responses == 12
    names = {(one.kind, one.name) for one in made.separations}
    assert {name for kind, name in names if kind == "shaper"} == set(rules())
    assert rounded(made) == made  # to 4 decimals


def test_a_record_is_read_as_it_was_written_and_a_damaged_one_is_named(made, tmp_path):
    path = tmp_path / "probes" / "one.json"
    save(made, path)
    assert load(path) == made and load_all(path.parent) == [made]
    content = json.loads(path.read_text())
    content["accuracy"]["blind"] = 1.5
    for broken in (
        content,
        {**content, "accuracy": {}},
        {"schema": 1},
        [],
        {**json.loads(path.read_text()), "schema": 2},
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(CorruptRecord, match=r"one\.json is not the record of a probe"):
            load(path)


def test_the_tables_have_a_row_for_every_twin_and_for_every_rule(made):
    half = Separation("signal", "logp", "read_rest", 3, 4, 0.5, 0.41234, 0.6)
    others = (
        dataclasses.replace(half, task="read_filler"),
        Separation("signal", "logp", "first_slip", 0, 4, None, None, None),
    )
    record = dataclasses.replace(made, separations=(half, *others))
    hard = dataclasses.replace(record, settings={**record.settings, "perception": 0.5}, model="other")
    can, tell = mistakes_table([record, hard]), credit_table([record, hard])
    assert len(can.splitlines()) == 4 and len(tell.splitlines()) == 4
    assert "| geometry3k | logp | 0.500 [0.412, 0.600] | 0.500 [0.412, 0.600] |  |" in tell
    assert "| geometry3k, perception 0.5, other | 3 | 4 |" in can
    assert mistakes_table([]) == credit_table([]) == "No probes yet.\n"
    assert "0.500 [0.412, 0.600]" in probe_text(record) and "wrong: left the form" in probe_text(record)


def test_a_separation_must_be_of_a_known_task():
    with pytest.raises(UsageError, match="of a signal or a shaper"):
        Separation("signal", "logp", "other", 1, 1, 0.5, 0.4, 0.6)


def test_the_command_prints_and_writes(small, made, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "probe_policy", lambda policy, probe, words: made)
    out = tmp_path / "p.json"
    assert start(["questions=3", f"out={out}"]) == 0
    assert load(out) == made and "AUROC: read vs rest" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("questions=0", "probe.questions must be in [1, inf)"),
        ("temperature=0", "probe.temperature must be in (0, inf)"),
        ("perception=2", "probe.perception must be in [0, 1]"),
        ("bench=geometry", "Did you mean 'geometry3k'?"),
        ("sample=3", "Did you mean 'samples'?"),
    ],
)
def test_what_cannot_be_asked_is_answered_with_a_sentence(word, answer, capsys):
    assert start([word]) == 2
    assert answer in capsys.readouterr().err
