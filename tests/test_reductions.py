"""Shapers against numbers that come from elsewhere: by hand, from GRPO's definition, from PEPO's released code."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from credit_zoo import masked
from credit_zoo.objective import shaping
from credit_zoo.registry import SHAPERS
from credit_zoo.testing.hard_inputs import hard_cases
from credit_zoo.types import ShaperInputs, TokenSignals


def inputs(mask=None, advantage=None, ids=None, **signals):
    table = {name: torch.tensor(values) for name, values in signals.items()}
    shape = next(iter(table.values())).shape
    return ShaperInputs(
        advantage=torch.ones(shape[0]) if advantage is None else torch.tensor(advantage),
        signals=TokenSignals(table),
        mask=torch.ones(shape, dtype=torch.bool) if mask is None else torch.tensor(mask),
        group=torch.zeros(shape[0], dtype=torch.int64),
        ids=torch.arange(shape[0] * shape[1]).view(shape) if ids is None else torch.tensor(ids),
        progress=1.0,
        correct=torch.ones(shape[0]) if advantage is None else (torch.tensor(advantage) > 0).float(),
    )


def shaped(name, x, **settings):
    return shaping.shape(SHAPERS[name].factory(**settings), x)


def test_uniform_is_grpo():
    # Rewards 1, 0, 0, 1 of one prompt: mean 1/2, population deviation 1/2, advantages 1, -1, -1, 1 on every token.
    x = inputs(entropy=[[0.1, 2.0, 0.3]] * 4, advantage=[1.0, -1.0, -1.0, 1.0], mask=[[True, True, False]] * 4)
    assert shaped("uniform", x).tolist() == [[1, 1, 0], [-1, -1, 0], [-1, -1, 0], [1, 1, 0]]


def test_pepo_by_hand_on_three_tokens():
    # mm[VS] = 0, 1/2, 1 and mm[H] = 1, 0, 1/2: sum 1, 1/2, 3/2 with mean 1, so g = 0, -1/2, 1/2.
    # tanh(1/2) = 0.46211716; alpha 0.1: gate = 1, 0.95378828, 1.04621172.
    # Scores VS * gate = 0, 0.47689414, 1.04621172; exp = 1, 1.61106289, 2.84684600, sum 5.45790889; w = 3 exp / sum.
    x = inputs(visual_similarity=[[0.0, 0.5, 1.0]], entropy=[[2.0, 0.0, 1.0]], advantage=[-2.0])
    weights = shaped("pepo", x, alpha=0.1) / -2.0
    assert weights[0].tolist() == pytest.approx([0.54966106, 0.88553854, 1.56480040], abs=2e-6)


def test_pepo_by_hand_on_two_tokens_with_a_strong_gate():
    # mm[VS] = 0, 1 and mm[H] = 0, 1: sum 0, 2 with mean 1, so g = -1, 1; tanh(1) = 0.76159416; alpha 0.5:
    # scores 0.2 * 0.61920292 and 0.6 * 1.38079708 differ by 0.70463766; w_2 = 2 / (1 + exp(-0.70463766)) = 1.33843040.
    x = inputs(visual_similarity=[[0.2, 0.6]], entropy=[[0.0, 3.0]])
    assert shaped("pepo", x, alpha=0.5)[0].tolist() == pytest.approx([0.66156960, 1.33843040], abs=2e-6)


def test_pepo_where_the_signals_cancel_is_a_softmax_of_the_similarity():
    # mm[VS] = 0, 1 and mm[H] = 1, 0: sum 1, 1, so the gate is 1 whatever alpha; odds exp(0.4) : 1.
    x = inputs(visual_similarity=[[0.2, 0.6]], entropy=[[3.0, 0.0]])
    assert shaped("pepo", x, alpha=1.0)[0].tolist() == pytest.approx([0.80262534, 1.19737466], abs=2e-6)


def test_a_negative_similarity_turns_the_gate_round():
    # Of two tokens with equal similarity the uncertain one has the wider gate; below 0 it gets the smaller weight.
    uncertain_second = [[0.0, 1.0]]
    positive = shaped("pepo", inputs(visual_similarity=[[0.5, 0.5]], entropy=uncertain_second), alpha=0.5)[0]
    negative = shaped("pepo", inputs(visual_similarity=[[-0.5, -0.5]], entropy=uncertain_second), alpha=0.5)[0]
    assert positive[1] > positive[0]
    assert negative[1] < negative[0]


def test_perception_and_additive_and_entropy_by_hand():
    # Odds exp(0.5) : 1 from VS = 0, 1/2; exp(1) : 1 from mm[H] = 1, 0; mm[VS] + mm[H] = 1, 1 are even.
    x = inputs(visual_similarity=[[0.0, 0.5]], entropy=[[3.0, 1.0]])
    assert shaped("perception", x)[0].tolist() == pytest.approx([0.75508133, 1.24491867], abs=2e-6)
    assert shaped("entropy", x)[0].tolist() == pytest.approx([1.46211716, 0.53788284], abs=2e-6)
    assert shaped("additive", x)[0].tolist() == pytest.approx([1, 1], abs=2e-6)


@pytest.mark.parametrize("case", hard_cases())
def test_pepo_without_a_gate_is_perception(case):
    x = hard_cases()[case]
    for temperature in (0.5, 1.8):
        without = shaped("pepo", x, alpha=0.0, temperature=temperature)
        torch.testing.assert_close(without, shaped("perception", x, temperature=temperature), atol=1e-6, rtol=1e-6)


def test_to_first_order_the_weights_spread_as_the_similarity():
    x = replace(hard_cases()["long responses"], advantage=torch.ones(3))
    weights = shaping.weights(shaped("perception", x, temperature=1.8), x)
    expected = masked.std(x.signals.visual_similarity, x.mask) / 1.8
    torch.testing.assert_close(masked.std(weights, x.mask), expected, rtol=0.02, atol=0)


def definitions(case):
    """Similarity and entropy of a golden case, token by token, straight from what they mean."""
    hidden, logits, ids, mask = (torch.from_numpy(case[name]) for name in ("hidden", "logits", "input_ids", "mask"))
    prompt = ids.shape[1] - mask.shape[1]
    similarity, entropy = torch.zeros(mask.shape), torch.zeros(mask.shape)
    for row, token in np.ndindex(*mask.shape):
        image = ids[row] == int(case["image_token_id"])
        state = hidden[:, row, prompt + token]
        cosines = torch.cosine_similarity(state[:, None], hidden[:, row][:, image], dim=-1)
        similarity[row, token] = cosines.mean()
        entropy[row, token] = torch.distributions.Categorical(logits=logits[row, prompt + token - 1]).entropy()
    return similarity, entropy, mask


@pytest.fixture(scope="module")
def golden(zoo_data):
    with np.load(zoo_data / "golden" / "pepo_release.npz") as file:
        numbers = sorted({name.split("_", 1)[0] for name in file.files})
        return [{key.split("_", 1)[1]: file[key] for key in file.files if key.startswith(f"{n}_")} for n in numbers]


def release_weights(case, similarity, entropy, mask):
    x = inputs(visual_similarity_release=similarity.tolist(), entropy=entropy.tolist(), mask=mask.tolist())
    return shaped("pepo_release", x, alpha=float(case["alpha"]), temperature=float(case["temperature"]))


def test_pepo_release_gives_the_weights_of_the_released_code(golden):
    assert golden
    for case in golden:
        assert str(case["score"]) == "cosine", "another score needs its own definition in this test"
        similarity, entropy, mask = definitions(case)
        for measured, name in ((similarity, "visual_score"), (entropy, "entropy")):
            np.testing.assert_allclose(measured[mask], case[name][mask.numpy()], atol=1e-5)
        weights = release_weights(case, similarity, entropy, mask)
        np.testing.assert_allclose(weights, case["weights"], atol=1e-5)


def test_pepo_on_the_paper_layers_differs_from_the_release(golden):
    for case in golden:
        _, entropy, mask = definitions(case)
        without_embedding, _, _ = definitions({**case, "hidden": case["hidden"][1:]})
        weights = release_weights(case, without_embedding, entropy, mask)
        assert np.abs(weights.numpy() - case["weights"]).max() > 1e-3


def test_high_entropy_keeps_the_top_fifth_of_the_batch():
    # Ten valid tokens of entropies 0 ... 9 over two rows, 99s outside the mask: the top fifth are 8 and 9.
    entropy = [[0.0, 9.0, 2.0, 99.0, 4.0, 5.0], [8.0, 1.0, 99.0, 3.0, 6.0, 7.0]]
    mask = [[True, True, True, False, True, True], [True, True, False, True, True, True]]
    x = inputs(entropy=entropy, mask=mask, advantage=[1.0, -1.0])
    assert shaped("high_entropy", x).tolist() == [[0, 1, 0, 0, 0, 0], [-1, 0, 0, 0, 0, 0]]
    rescaled = shaped("high_entropy", x, rescale=True)
    assert rescaled.flatten().tolist() == pytest.approx([0, 5, 0, 0, 0, 0, -5, 0, 0, 0, 0, 0])
    assert (shaped("high_entropy", x, rho=0.5) != 0).sum() == 5


@pytest.mark.parametrize("name", list(SHAPERS))
def test_the_ramp_goes_from_uniform_to_the_shaper(name):
    x = hard_cases()["ordinary values"]
    result = shaped(name, x)
    uniform = shaped("uniform", x)
    assert torch.equal(shaping.scheduled(result, replace(x, progress=0.0), "linear"), uniform)
    torch.testing.assert_close(shaping.scheduled(result, replace(x, progress=1.0), "linear"), result)
    half = shaping.scheduled(result, replace(x, progress=0.5), "linear")
    torch.testing.assert_close(half, (result + uniform) / 2)
    assert torch.equal(shaping.scheduled(result, replace(x, progress=0.0), "none"), result)


def test_permuted_pepo_has_the_weights_of_pepo_in_another_order():
    x = hard_cases()["long responses"]
    original, permuted = shaped("pepo", x), shaped("permuted(pepo)", x)
    assert torch.equal(original.sort(-1).values, permuted.sort(-1).values)
    for row in range(2):
        assert not torch.equal(original[row], permuted[row])


def test_permuted_pepo_shuffles_by_the_tokens_and_the_seed_alone():
    width = 40
    similarity = torch.linspace(0, 1, width).expand(3, width).tolist()
    ids = [list(range(width)), list(range(width)), list(range(1, width + 1))]
    x = inputs(visual_similarity=similarity, entropy=similarity, ids=ids)
    first, same_tokens, other_tokens = shaped("permuted(pepo)", x)
    assert torch.equal(first, same_tokens)
    assert not torch.equal(first, other_tokens)
    assert not torch.equal(first, shaped("permuted(pepo)", x, seed=1)[0])


def test_permuted_pepo_is_unbiased_over_responses():
    # A weight lands anywhere: over 400 responses of 4 tokens the heaviest one is at each place about 100 times.
    similarity = torch.tensor([[0.0, 0.2, 0.4, 1.0]]).expand(400, 4).tolist()
    ids = torch.arange(1600).view(400, 4).tolist()
    places = shaped("permuted(pepo)", inputs(visual_similarity=similarity, entropy=similarity, ids=ids)).argmax(-1)
    assert all(60 < count < 140 for count in places.bincount(minlength=4).tolist())


def test_a_response_of_one_token_gets_its_advantage():
    x = hard_cases()["one-token responses"]
    for name in ("pepo", "pepo_release", "perception", "additive", "entropy", "permuted(pepo)"):
        torch.testing.assert_close(shaped(name, x).sum(-1), x.advantage)
