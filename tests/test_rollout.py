"""Sampling: its log-probabilities are the trainer's, its greedy answers transformers' own."""

import dataclasses
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from steps import prompts
from transformers import DynamicCache, Qwen2Config

from credit_zoo.policy.batch_layout import BatchLayout
from credit_zoo.policy.policy import Policy
from credit_zoo.policy.shared_prefix import roomy_cache
from credit_zoo.rollout.measured_responses import MeasuredResponses
from credit_zoo.rollout.sampling import (
    BLOCK,
    SamplingParams,
    _entropy,
    generators,
    invert,
    restrict,
    rows_together,
    sample,
)


def draw(policy, seed=0, **settings):
    return sample(policy, prompts(policy), SamplingParams(**settings), torch.Generator().manual_seed(seed))


MEASURED = [{}, {"temperature": 0.7}, {"top_k": 20}, {"top_p": 0.8}, {"temperature": 1.3, "top_k": 40, "top_p": 0.9}]


@pytest.mark.parametrize("layout", ["shared", "plain"])
@pytest.mark.parametrize("settings", MEASURED)
def test_what_is_measured_while_tokens_are_drawn_is_what_a_pass_of_its_own_measures(tiny, settings, layout):
    sampling = SamplingParams(6, max_tokens=24, **settings)
    draws = [torch.Generator().manual_seed(3) for _ in range(2)]
    drawn = sample(tiny, prompts(tiny), sampling, draws[0], measure=True)
    policy = Policy(tiny.model, tiny.encoder, dataclasses.replace(tiny.settings, layout=layout))
    with torch.no_grad():
        found = policy(BatchLayout.of(prompts(tiny), drawn), sampling.temperature, sampling.truncation)
    assert set(drawn.signals) == {"logp", "entropy", "collision"}
    for name, values in drawn.signals.items():
        torch.testing.assert_close(values, getattr(found, name) * drawn.mask, atol=1e-5, rtol=0)
    plain = sample(tiny, prompts(tiny), sampling, draws[1])
    assert not isinstance(plain, MeasuredResponses)
    assert all(torch.equal(getattr(plain, name), getattr(drawn, name)) for name in ("ids", "mask", "logp", "truncated"))


def test_nothing_is_measured_of_a_greedy_answer(tiny):
    drawn = sample(tiny, prompts(tiny), SamplingParams(1, temperature=0.0), torch.Generator(), measure=True)
    assert not isinstance(drawn, MeasuredResponses)


def test_entropy_over_blocks_of_a_large_vocabulary_is_that_of_all(tiny):
    logits = 3 * torch.randn(2, 40 * BLOCK + 7, generator=torch.Generator().manual_seed(0))
    logits[0, 5:] = -torch.inf
    logs = logits.log_softmax(-1)
    expected = -(logs.exp() * logs.clamp(min=-1e4)).sum(-1)
    torch.testing.assert_close(_entropy(logs), expected, atol=1e-4, rtol=0)
    assert _entropy(torch.tensor([[0.5, 0.25, 0.25]]).log())[0] == pytest.approx(1.5 * 0.693147, abs=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampling_log_probabilities_are_the_trainers(tiny, temperature):
    drawn = draw(tiny, group=4, max_tokens=16, temperature=temperature)
    logp = tiny(BatchLayout.of(prompts(tiny), drawn), temperature).logp
    torch.testing.assert_close(drawn.logp[drawn.mask], logp[drawn.mask], atol=2e-5, rtol=0)


@pytest.mark.parametrize(("top_k", "top_p"), [(50, 1.0), (3, 1.0), (0, 0.7), (20, 0.9)])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampler_and_trainer_speak_of_one_truncated_distribution(tiny, temperature, top_k, top_p):
    sampling = SamplingParams(4, temperature, top_p, top_k, max_tokens=16)
    drawn = sample(tiny, prompts(tiny), sampling, torch.Generator().manual_seed(0))
    rows = BatchLayout.of(prompts(tiny), drawn)
    found, whole = tiny(rows, temperature, sampling.truncation), tiny(rows, temperature)
    torch.testing.assert_close(drawn.logp[drawn.mask], found.logp[drawn.mask], atol=2e-5, rtol=0)
    assert (drawn.logp - whole.logp)[drawn.mask].max() > 1e-3  # what is left has more of the mass than before
    assert (found.entropy < whole.entropy)[drawn.mask].all() and found.entropy[drawn.mask].min() >= -1e-5
    assert (found.collision > whole.collision)[drawn.mask].all() and found.collision[drawn.mask].max() <= 1 + 1e-5
    if top_k:
        assert found.entropy[drawn.mask].max() <= torch.tensor(float(top_k)).log() + 1e-4


def test_greedy_answers_are_those_of_generate(tiny):
    found = draw(tiny, group=1, temperature=0.0, max_tokens=16)
    encoded = prompts(tiny)
    out = tiny.model.generate(
        **tiny.base_inputs(encoded.ids, encoded.mask, encoded.ids == tiny.encoder.image_token),
        pixel_values=torch.cat([v["pixel_values"] for v in encoded.vision]),
        image_grid_thw=torch.cat([v["image_grid_thw"] for v in encoded.vision]),
        do_sample=False,
        max_new_tokens=16,
        suppress_tokens=list(tiny.encoder.vision_tokens),
    )
    theirs = out[:, encoded.ids.shape[1] :]
    for ids, mask, expected in zip(found.ids, found.mask, theirs, strict=True):
        assert ids[mask].tolist() == expected[: mask.sum()].tolist()


def test_the_prompt_is_read_once_per_prompt_not_once_per_response(tiny):
    tokens = []
    tiny.decoder.register_forward_pre_hook(
        lambda module, args, kwargs: tokens.append(kwargs["inputs_embeds"].shape[:2].numel()), with_kwargs=True
    )
    draw(tiny, group=5, max_tokens=4)
    width = prompts(tiny).ids.shape[1]
    assert tokens[0] == 3 * width and all(later == 15 for later in tokens[1:])


@given(st.sampled_from([1, 30, BLOCK, 2 * BLOCK + 3]), st.integers(0, 10_000))
def test_a_draw_is_the_first_token_whose_cumulative_probability_exceeds_the_chance(vocabulary, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(5, vocabulary, generator=generator)
    chance = torch.rand(5, generator=generator, dtype=torch.float64)
    chance[0], chance[1] = 0.0, 1 - 2**-53
    logits[1, vocabulary // 2 :] = -1e4  # the last tokens are impossible
    logits[1, 0] = 0.0
    token, logp = invert(logits.clone(), SamplingParams(), chance)
    p = logits.double().softmax(-1)
    reached = p.cumsum(-1).gather(-1, token[:, None])[:, 0]
    chosen = p.gather(-1, token[:, None])[:, 0]
    assert (chosen > 0).all() and (reached >= chance - 1e-5).all() and (reached - chosen <= chance + 1e-5).all()
    torch.testing.assert_close(logp.double(), chosen.log(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("rows_fit", "most"), [(None, 18), (10**6, 18), (13, 12), (11, 6), (4, 4), (0, 1)])
def test_a_bound_on_tokens_together_changes_no_response(tiny, rows_fit, most):
    """Draws follow from the seed and the question, whatever is drawn beside it."""
    rows = []
    tiny.decoder.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(kwargs["inputs_embeds"].shape[0]), with_kwargs=True
    )
    asked, sampling = prompts(tiny), SamplingParams(group=6, max_tokens=12, top_k=30)
    tokens = None if rows_fit is None else max(rows_fit * (asked.ids.shape[1] + 12), 1)
    whole = sample(tiny, asked, sampling, generators(7, [3, 4, 5]))
    rows.clear()
    found = sample(tiny, asked, sampling, generators(7, [3, 4, 5]), tokens)
    assert max(rows) == most
    assert torch.equal(found.ids, whole.ids) and torch.equal(found.mask, whole.mask)
    assert torch.equal(found.truncated, whole.truncated) and torch.equal(found.row_of, whole.row_of)
    torch.testing.assert_close(found.logp, whole.logp, atol=1e-5, rtol=0)


def test_whole_groups_are_drawn_together_where_one_fits():
    assert [rows_together(100, 8, tokens) for tokens in (None, 2499, 1699, 1600, 800, 799, 99)] == [
        sys.maxsize // 100 // 8 * 8, 24, 16, 16, 8, 7, 1
    ]  # fmt: skip


def test_the_same_seed_gives_the_same_responses_and_another_one_others(tiny):
    one, same, other = (draw(tiny, seed=seed, group=4, max_tokens=12).ids for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_more_responses_and_more_tokens_come_after_the_same_first_ones(tiny):
    def ids(group, length):
        drawn = sample(tiny, prompts(tiny), SamplingParams(group, max_tokens=length), generators(3, [7, 8, 9]))
        return drawn.ids.view(3, group, length)

    assert torch.equal(ids(2, 5), ids(6, 12)[:, :2, :5])
    assert len({tuple(row) for row in ids(6, 12).flatten(0, 1).tolist()}) == 18


def test_a_response_ends_at_its_first_stop_token_and_only_unfinished_ones_are_truncated(tiny):
    drawn = draw(tiny, group=64, max_tokens=40)
    stop = tiny.encoder.stop_tokens[0]
    ended = drawn.ids.eq(stop) & drawn.mask
    assert torch.equal(ended.any(1), ~drawn.truncated) and ended.any()
    assert (ended.sum(1) <= 1).all()
    lengths = drawn.mask.sum(1)
    assert all(ended[row, lengths[row] - 1] for row in range(len(lengths)) if not drawn.truncated[row])
    assert drawn.ids[~drawn.mask].eq(tiny.encoder.pad_token).all() and drawn.logp[~drawn.mask].eq(0).all()


def test_vision_tokens_are_never_sampled(tiny):
    with torch.no_grad():
        tiny.model.get_output_embeddings().weight[list(tiny.encoder.vision_tokens)] *= 100
    drawn = draw(tiny, group=16, max_tokens=16, temperature=2.0)
    assert not torch.isin(drawn.ids[drawn.mask], torch.tensor(tiny.encoder.vision_tokens)).any()


def test_top_k_and_top_p_by_hand():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert restrict(logits, 2, 1.0).isfinite().tolist() == [[True, True, False, False]]
    assert restrict(logits, 0, 0.5).isfinite().tolist() == [[True, False, False, False]]
    assert restrict(logits, 0, 0.7).isfinite().tolist() == [[True, True, False, False]]
    assert restrict(logits, 0, 0.81).isfinite().tolist() == [[True, True, True, False]]
    # top-k first: of the two that are left, 0.5 / 0.8 = 0.625 of the mass is the first one's
    assert restrict(logits, 2, 0.6).isfinite().tolist() == [[True, False, False, False]]


@given(st.integers(0, 6), st.floats(0.01, 1.0), st.integers(0, 10_000))
def test_restricting_keeps_the_most_probable_token_and_never_adds_one(top_k, top_p, seed):
    logits = torch.randn(3, 6, generator=torch.Generator().manual_seed(seed))
    kept = restrict(logits, top_k, top_p).isfinite()
    assert kept.gather(1, logits.argmax(1, keepdim=True)).all()
    assert not top_k or kept.sum(1).max() <= top_k


def test_log_probabilities_of_a_restricted_draw_are_those_of_the_restricted_distribution(tiny):
    drawn = draw(tiny, group=8, max_tokens=6, top_k=1)
    assert drawn.logp[drawn.mask].abs().max() < 1e-6  # one token is left, with probability 1


# --- the cache with room ----------------------------------------------------------------------------------------

WRITES = st.lists(st.one_of(st.integers(1, 4), st.lists(st.integers(0, 1), min_size=2, max_size=2)), max_size=12)


@given(WRITES, st.integers(0, 3))
def test_the_cache_with_room_holds_what_a_growing_one_holds(steps, room):
    """A number writes so many tokens, a pair of rows keeps these (or copies of one)."""
    config = Qwen2Config(num_hidden_layers=2)
    caches = (roomy_cache(config, room), DynamicCache(config=config))
    draws = torch.Generator().manual_seed(len(steps))
    for step in [3, *steps]:
        if isinstance(step, list):
            for cache in caches:
                cache.batch_select_indices(torch.tensor(step))
            continue
        given = torch.randn(2, 2, 3, step, 5, generator=draws)
        for layer in range(2):
            ours, theirs = (cache.update(*(given + layer), layer) for cache in caches)
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        assert caches[0].get_seq_length() == caches[1].get_seq_length()


def test_a_token_is_written_into_the_cache_where_there_is_room(tiny):
    cache = roomy_cache(tiny.model.config, 4)
    tiny.read_prompts(prompts(tiny, 2), cache).select(torch.tensor([0, 0, 1]))
    layer, places = cache.layers[0], []
    for _ in range(6):
        cache.update(torch.zeros_like(layer.keys[:, :, :1]), torch.zeros_like(layer.values[:, :, :1]), 0)
        places.append(layer.keys.data_ptr())
    assert len(set(places[:5])) == 1 and places[5] != places[0]
