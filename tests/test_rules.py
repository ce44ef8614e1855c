"""Rules of the zoo against numbers worked out by hand, and the signals that a response's text tells."""

import math

import pytest
import torch

from credit_zoo.objective import Base, shaping
from credit_zoo.policy.response_text import character_sections, text_signals, token_sections
from credit_zoo.registry import SHAPERS
from credit_zoo.sampled_signals import SAMPLED_SIGNALS, passes_beside_sampling
from credit_zoo.testing.hard_inputs import hard_cases
from credit_zoo.training import needs_old_policy
from credit_zoo.types import ShaperInputs, TokenSignals


def inputs(advantage, mask, ids=None, correct=None, group=None, **signals):
    kept = torch.tensor(mask, dtype=torch.bool)
    return ShaperInputs(
        advantage=torch.tensor(advantage),
        signals=TokenSignals({name: torch.tensor(values) for name, values in signals.items()}),
        mask=kept,
        group=torch.zeros(len(kept), dtype=torch.int64) if group is None else torch.tensor(group),
        ids=torch.arange(kept.numel()).view(kept.shape) if ids is None else torch.tensor(ids),
        progress=1.0,
        correct=(torch.tensor(advantage) > 0).float() if correct is None else torch.tensor(correct),
    )


def shaped(name, x, **settings):
    return shaping.shape(SHAPERS[name].factory(**settings), x)


def near(rows):
    return [pytest.approx(row, abs=2e-6) for row in rows]


def test_cheng_adds_a_bonus_up_to_half_of_the_advantage():
    # 0.4 * H = 0.2, 0.8, 0.04; half of |A| is 0.5 and 0.15.
    x = inputs([1.0, -0.3], [[1, 1, 1]] * 2, entropy=[[0.5, 2.0, 0.1]] * 2)
    assert shaped("cheng", x).tolist() == near([[1.2, 1.5, 1.04], [-0.15, -0.15, -0.26]])


def test_quadrants_are_told_apart_by_sign_and_entropy():
    # Entropies 0 to 4 over the step: the top two fifths are 3 and 4.
    x = inputs([1.0, -1.0], [[1, 1, 1], [1, 1, 0]], entropy=[[0.0, 3.0, 1.0], [4.0, 2.0, 99.0]])
    found = {
        name: shaped("polarity_entropy", x, rho=0.4, **{**dict.fromkeys(QUADRANTS, False), name: True}).tolist()
        for name in QUADRANTS
    }
    assert found == {
        "positive_high": [[0, 1, 0], [0, 0, 0]],
        "positive_low": [[1, 0, 1], [0, 0, 0]],
        "negative_high": [[0, 0, 0], [-1, 0, 0]],
        "negative_low": [[0, 0, 0], [0, -1, 0]],
    }


QUADRANTS = ("positive_high", "positive_low", "negative_high", "negative_low")


@pytest.mark.parametrize("case", hard_cases())
def test_the_two_uncertain_quadrants_are_the_80_20_rule(case):
    x = hard_cases()[case]
    assert torch.equal(shaped("polarity_entropy", x), shaped("high_entropy", x))


def test_a_threshold_in_each_response_keeps_a_share_of_each():
    # Row quantiles at 1/2: 2 of (0, 1, 2, 3, 9) and 15 of (10, 20), which no valid token but 20 reaches.
    entropy = [[3.0, 0.0, 9.0, 1.0, 2.0], [10.0, 99.0, 20.0, 99.0, 99.0]]
    x = inputs([1.0, 1.0], [[1] * 5, [1, 0, 1, 0, 0]], entropy=entropy)
    assert shaped("high_entropy", x, rho=0.5, threshold="response").tolist() == [[1, 0, 1, 0, 1], [0, 0, 1, 0, 0]]
    kept = shaped("high_entropy", x, rho=0.5, threshold="response", denominator="kept")
    assert kept.sum() == pytest.approx(7)  # as many as there are tokens
    assert shaped("high_entropy", x, rho=0.5).tolist() == [[1, 0, 1, 0, 0], [1, 0, 1, 0, 0]]


def test_tokens_of_nine_tenths_and_more_are_left_out():
    logp = [[math.log(0.5), math.log(0.91), math.log(0.89), 0.0]]
    assert shaped("probability", inputs([2.0], [[1] * 4], logp=logp)).tolist() == [[2, 0, 2, 0]]


def test_gtpo_by_hand_conserves_what_a_position_is_paid():
    # Rights: entropies 1, 3 at place 0 give shares 2 * 1/4 and 2 * 3/4; alone at place 1, 1. With a1 = a2 = 1/2:
    # rewards 0.75, 1.0 and 1.25. Mean 1, variance 1/24, so 0.25 is 1.22474 deviations.
    # Wrongs: 1/H = 1, 1/3 at place 0 give 1.5 and 0.5: rewards -1.25, -0.75.
    mask = [[1, 1], [1, 0], [1, 0], [1, 0]]
    x = inputs([1.0, 1.0, -1.0, -1.0], mask, entropy=[[1.0, 2.0], [3.0, 9.0], [1.0, 9.0], [3.0, 9.0]])
    found = shaped("gtpo", x, outcome=0.5, entropy=0.5)
    assert found.tolist() == [
        pytest.approx(row, abs=1e-5) for row in [[-1.2247449, 0], [1.2247449, 0], [-1, 0], [1, 0]]
    ]
    # Over the group: mean (3 - 2) / 5 = 0.2; second moment (0.5625 + 1 + 1.5625 + 1.5625 + 0.5625) / 5 = 1.05.
    together = shaped("gtpo", x, outcome=0.5, entropy=0.5, normalize="group")
    scale = math.sqrt(1.05 - 0.04)
    expected = [[0.55, 0.8], [1.05, 0.0], [-1.45, 0.0], [-0.95, 0.0]]
    assert together.tolist() == [pytest.approx([v / scale for v in row], abs=1e-5) for row in expected]


def test_gtpo_gives_nothing_where_all_are_right():
    x = inputs([1.0, 1.0], [[1, 1]] * 2, entropy=[[1.0, 2.0]] * 2)
    assert not shaped("gtpo", x).any()


def test_ktae_by_hand_on_one_word_each():
    """Two right answers say 1, two wrong ones 2, all say 3 first: p = 1/3, one bit, and x beyond what a sigmoid shows."""
    ids = [[3, 1, 9], [3, 1, 9], [3, 2, 9], [3, 2, 9]]
    x = inputs([1.0, 1.0, -1.0, -1.0], [[1, 1, 1]] * 4, ids=ids)
    assert shaped("ktae", x).tolist() == near([[1, 2, 1], [1, 2, 1], [-1, -2, -1], [-1, -2, -1]])
    # eps = 1 tames the ratio: q = 1/3, f = 3 q / (q + 2) = 3/7, x = pi/2 + 3/7, F = exp(-2/3), I = 1.
    tame = math.tanh((math.exp(-2 / 3) + 1) / 2 * (math.pi / 2 + 3 / 7) / 2)
    assert shaped("ktae", x, eps=1.0)[0, 1].item() == pytest.approx(1 + tame, abs=1e-6)


def test_ktae_needs_right_and_wrong_answers_and_skips_the_token_that_ends_each():
    ids = [[1, 2, 3], [4, 5, 6]]
    assert shaped("ktae", inputs([0.5, 0.2], [[1] * 3] * 2, ids=ids)).tolist() == near([[0.5] * 3, [0.2] * 3])
    mixed = shaped("ktae", inputs([1.0, -1.0], [[1, 1, 1], [1, 1, 0]], ids=ids))
    assert mixed.tolist() == near([[2, 2, 1], [-2, -1, 0]])


def test_optimal_baseline_by_hand():
    # Energies 1 - 2 pi + c: 0.5, 1 and 1.5, 0.5. W = 0.5, 1.5 and 1.5, 2. B = (0.5 - 1.5) / 2, (1.5 - 2) / 3.5.
    logp = [[math.log(0.5), math.log(0.25)], [math.log(0.125), math.log(0.5)]]
    x = inputs([1.0, -1.0], [[1, 1]] * 2, logp=logp, collision=[[0.5, 0.5], [0.75, 0.5]])
    assert shaped("optimal_baseline", x).tolist() == near([[1.5, 1 + 1 / 7], [-0.5, -1 + 1 / 7]])


def test_vgpo_answers_are_weighed_within_their_prompt():
    """Two prompts: a change of the other prompt's answers changes nothing."""
    similarity = [[0.1, 0.2, 0.3], [0.3, 0.3, 0.1], [0.2, 0.1, 0.5], [0.0, 0.9, 0.4]]
    x = inputs([1.0] * 4, [[1] * 3] * 4, group=[0, 0, 1, 1], visual_similarity_last=similarity)
    other = [*similarity[:2], [0.9, 0.1, 0.1], [0.4, 0.2, 0.9]]
    y = inputs([1.0] * 4, [[1] * 3] * 4, group=[0, 0, 1, 1], visual_similarity_last=other)
    assert torch.equal(shaped("vgpo", x)[:2], shaped("vgpo", y)[:2])
    assert not torch.equal(shaped("vgpo", x)[2:], shaped("vgpo", y)[2:])


def test_fipo_is_uniform_before_the_first_update_and_looks_ahead_after_it():
    still = inputs([1.0, -1.0], [[1, 1, 1]] * 2, log_ratio=[[0.0] * 3] * 2)
    assert shaped("fipo", still).tolist() == [[1, 1, 1], [-1, -1, -1]]
    # Half-life 1, a gap in the mask: F = 0.1 + 0.04 / 2, and 0.04, of the tokens that are counted.
    moved = inputs([1.0], [[1, 0, 1]], log_ratio=[[0.1, 9.0, 0.04]])
    assert shaped("fipo", moved, half_life=1.0).tolist() == near([[math.exp(0.12), 0, math.exp(0.04)]])


@pytest.mark.parametrize(("extreme", "kept"), [(1, True), (2, False)])
def test_fipo_leaves_out_a_losing_response_that_is_clipped_twice(extreme, kept):
    ratios = [[2.5] * extreme + [0.0] * (4 - extreme)] * 2
    found = shaped("fipo", inputs([1.0, -1.0], [[1] * 4] * 2, log_ratio=ratios))
    assert found[0].all() and bool(found[1].any()) == kept
    assert shaped("fipo", inputs([-1.0], [[1] * 4], log_ratio=ratios[:1]), tolerated=math.inf).all()


def test_heuristics_move_all_credit_to_what_they_choose():
    mask = [[1, 1, 0, 1, 1], [1, 1, 1, 0, 0]]
    x = inputs([1.0, -2.0], mask, section=[[0.0, 0.0, 1.0, 1.0, -1.0], [0.0] * 5], digit=[[1.0, 0, 1, 0, 1], [0.0] * 5])
    assert shaped("answer_only", x).tolist() == [[0, 0, 0, 4, 0], [-2, -2, -2, 0, 0]]
    assert shaped("think_only", x).tolist() == [[2, 2, 0, 0, 0], [-2, -2, -2, 0, 0]]
    assert shaped("numbers_only", x).tolist() == [[2, 0, 0, 0, 2], [-2, -2, -2, 0, 0]]
    assert shaped("first_tokens", x).tolist() == [[2, 2, 0, 0, 0], [-3, -3, 0, 0, 0]]
    assert shaped("last_tokens", x).tolist() == [[0, 0, 0, 2, 2], [0, -3, -3, 0, 0]]
    # Lengths 4 and 3: 1/4 and 1/3 with mean 7/24.
    assert shaped("length", x).tolist() == near([[6 / 7, 6 / 7, 0, 6 / 7, 6 / 7], [-16 / 7] * 3 + [0, 0]])


def test_the_two_oracles_of_blame_by_hand():
    # Right; wrong with one wrong token; wrong with none found; wrong with two tokens, and one outside the mask.
    mask = [[1, 1, 1, 1]] * 3 + [[1, 1, 1, 0]]
    error = [[0.0] * 4, [0.0, 0.0, 1.0, 0.0], [0.0] * 4, [0.0, 1.0, 1.0, 1.0]]
    role = [[0.0, 2.0, 1.0, 2.0]] * 4
    x = inputs([0.5, -1.0, -1.0, -2.0], mask, truth_error=error, truth_role=role)
    alone = [[0.5] * 4, [0, 0, -1, 0], [-1] * 4, [0, -2, -2, 0]]
    assert shaped("oracle_blame", x).tolist() == alone
    whole = [[1, 0, 1, 0], [0, 0, -4, 0], [-1] * 4, [0, -3, -3, 0]]  # each row's mean is its advantage
    assert shaped("oracle_first_error", x).tolist() == whole


@pytest.mark.parametrize(("share", "kept"), [(0.1, 3), (0.5, 15), (0.01, 1), (1.0, 30)])
def test_a_share_is_the_least_whole_number_of_tokens(share, kept):
    x = inputs([1.0], [[1] * 30])
    assert int((shaped("first_tokens", x, share=share) != 0).sum()) == kept


def test_random_weights_are_positive_differ_and_follow_from_the_tokens():
    x = inputs([1.0, 1.0], [[1] * 40] * 2, ids=[list(range(40))] * 2)
    found = shaped("random", x)
    assert torch.equal(found[0], found[1]) and (found > 0).all() and found[0].unique().numel() == 40
    assert found.std() == pytest.approx(1, abs=0.4)  # exponential: as wide as its mean
    assert not torch.equal(found, shaped("random", x, seed=1))


@pytest.mark.parametrize(
    ("opened", "text", "thought", "answer"),
    [
        ("", "<think>ab</think><answer>c</answer>", "ab", "c"),
        ("<think>", "ab</think><answer>c", "ab", "c"),  # opened by the prompt, never closed
        ("", "<think>a</think>b</think><answer>c</answer>d", "a</think>b", "c"),  # thought up to the last tag
        ("", "<think>a<answer>b</answer>c", "a", "b"),
        ("", "<think>a", "a", ""),
        ("", "no tags at all", "", ""),
        ("", "<think><answer>no</answer></think><answer>b</answer> <answer>b</answer>", "<answer>no</answer>", "bb"),
    ],
)
def test_sections_of_a_text(opened, text, thought, answer):
    sections = character_sections(opened + text)[len(opened) :]
    found = ["".join(one for one, where in zip(text, sections, strict=True) if where == section) for section in (0, 1)]
    assert found == [thought, answer]


def test_a_token_that_holds_part_of_the_answer_is_the_answers_and_the_stop_token_is_form():
    pieces = ["<think>", "a b", "</think>", "<ans", "wer", ">yes", "</", "answer>", ""]
    assert token_sections(pieces) == [-1, 0, -1, -1, -1, 1, -1, -1, -1]


def test_signals_of_sampled_tokens_stand_where_the_mask_does(tiny):
    ids, mask = tiny.encoder.responses(["<think>area 12</think><answer>7</answer>", "side"])
    mask[1, 0] = False
    found = text_signals(("section", "digit", "entropy"), tiny.encoder, ids, mask)
    assert set(found) == {"section", "digit"} and not any(values[~mask].any() for values in found.values())
    texts = [tiny.encoder.tokenizer.decode([token]) for token in ids[0][mask[0]].tolist()]
    for name, chosen in (("digit", [t for t in texts if t.strip().isdigit()]), ("section", ["7"])):
        assert [t for t, v in zip(texts, found[name][0][mask[0]].tolist(), strict=True) if v == 1] == chosen
    assert text_signals(("logp",), tiny.encoder, ids, mask) == {}


def test_facts_tell_what_a_step_makes_for_a_rule():
    passes, beside = (
        {name: count(SHAPERS[name].facts) for name in ("pepo", "high_entropy", "ktae", "vgpo", "answer_only", "tor")}
        for count in (lambda facts: facts.extra_passes, passes_beside_sampling)
    )
    assert passes == {"pepo": 0, "high_entropy": 1, "ktae": 0, "vgpo": 1, "answer_only": 0, "tor": 2}
    assert beside == {"pepo": 0, "high_entropy": 0, "ktae": 0, "vgpo": 1, "answer_only": 0, "tor": 1}
    assert SHAPERS["answer_only"].facts.text == ("section",) and not SHAPERS["answer_only"].facts.measured


@pytest.mark.parametrize("name", SHAPERS)
def test_the_passes_that_facts_tell_are_those_that_the_loop_makes(name):
    facts, base = SHAPERS[name].facts, Base()
    views = bool(facts.views)
    assert facts.extra_passes == needs_old_policy(facts, base, 1) + views
    told = (*SAMPLED_SIGNALS, *facts.views)
    assert passes_beside_sampling(facts) == needs_old_policy(facts, base, 1, told) + views
