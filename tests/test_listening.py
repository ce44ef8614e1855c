"""Signals of anybody's model by hooks: the same numbers as from stored states, whole logits, and our own policy."""

import pytest
import torch
from steps import prompts, responses
from torch.nn.functional import normalize
from transformers import Qwen2Config, Qwen2ForCausalLM

import credit_zoo as cz
from credit_zoo.policy.batch_layout import BatchLayout
from credit_zoo.policy.signals import FIRST_LAYER, listen, token_signals

STATISTICS = ("logp", "entropy", "collision")


def rows_of(policy, **settings):
    return BatchLayout.of(prompts(policy, 3), responses(policy, **settings))


def inputs_of(policy, rows, part=slice(None)):
    """What a user of transformers hands to the model for some rows."""
    image = rows.image_mask(policy.encoder.image_token)
    vision = [rows.prompts.vision[row] for row in rows.row_of[part].tolist()]
    pixels = {name: torch.cat([one[name] for one in vision]) for name in vision[0]}
    inputs = policy.base_inputs(rows.input_ids[part], rows.attention_mask[part], image[part])
    return {**inputs, **pixels}


def heard(policy, rows, needs, parts=(slice(None),), model=None, **settings):
    model = policy.model if model is None else model
    with torch.no_grad(), cz.listen(model, needs, input_ids=rows.input_ids, mask=rows.mask, **settings) as signals:
        for part in parts:
            model(**inputs_of(policy, rows, part))
    return signals


@pytest.mark.parametrize("name", FIRST_LAYER)
def test_visual_similarity_is_the_mean_cosine_over_stored_states(tiny, name):
    rows = rows_of(tiny)
    found = heard(tiny, rows, [name])[name]
    with torch.no_grad():
        states = tiny.model(**inputs_of(tiny, rows), output_hidden_states=True).hidden_states
    image = rows.input_ids == tiny.encoder.image_token
    for b in range(len(found)):
        layers = [normalize(h[b], dim=-1) for h in states[FIRST_LAYER[name] :]]
        expected = torch.stack([(h[rows.prompt_length :] @ h[image[b]].T).mean(-1) for h in layers]).mean(0)
        torch.testing.assert_close(found[b][rows.mask[b]], expected[rows.mask[b]], atol=1e-6, rtol=0)
    assert found[~rows.mask].eq(0).all()


def test_statistics_are_those_of_the_whole_matrix_of_logits(tiny):
    rows = rows_of(tiny)
    found = heard(tiny, rows, STATISTICS, temperature=0.7)
    with torch.no_grad():
        logits = tiny.model(**inputs_of(tiny, rows)).logits[:, rows.prompt_length - 1 : -1] / 0.7
    expected = torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(found["logp"][rows.mask], expected.log_prob(rows.response_ids)[rows.mask])
    torch.testing.assert_close(found["entropy"][rows.mask], expected.entropy()[rows.mask])
    torch.testing.assert_close(found["collision"][rows.mask], expected.probs.square().sum(-1)[rows.mask])


def test_they_are_what_our_own_policy_measures(tiny):
    rows = rows_of(tiny)
    with torch.no_grad(), listen(tiny, rows, ["visual_similarity"]) as cosines:
        own = token_signals(["visual_similarity"], tiny(rows, 1.0), cosines, rows.mask).values
    theirs = heard(tiny, rows, ["visual_similarity"])
    torch.testing.assert_close(theirs["visual_similarity"], own["visual_similarity"], atol=1e-6, rtol=0)


def test_rows_may_be_read_in_several_calls(tiny):
    rows, needs = rows_of(tiny), ("visual_similarity", "entropy")
    whole = heard(tiny, rows, needs)
    parts = heard(tiny, rows, needs, (slice(0, 2), slice(2, 3), slice(3, len(rows.mask))))
    for name in needs:
        torch.testing.assert_close(parts[name], whole[name], atol=1e-5, rtol=0)


def test_a_mask_that_is_no_prefix_and_holds_the_prompt_s_end_too(tiny):
    """A trainer that keeps a window of positions, right-aligned, in which some belong to the prompt."""
    rows = rows_of(tiny)
    wide = torch.cat([torch.zeros(len(rows.mask), rows.prompt_length - 1, dtype=torch.long), rows.mask.long()], 1)
    needs = ("visual_similarity", "entropy")
    with torch.no_grad(), cz.listen(tiny.model, needs, input_ids=rows.input_ids, mask=wide) as found:
        tiny.model(**inputs_of(tiny, rows))
    plain = heard(tiny, rows, needs)
    for name in needs:
        assert found[name].shape == wide.shape and found[name][wide == 0].eq(0).all()
        torch.testing.assert_close(found[name][wide == 1], plain[name][rows.mask], atol=1e-6, rtol=0)


def test_a_sampled_image_token_is_no_image(tiny):
    rows = rows_of(tiny)
    ids = rows.response_ids.clone()
    ids[:, 0] = tiny.encoder.image_token
    sampled = BatchLayout(rows.prompts, rows.row_of, ids, rows.mask)
    from credit_zoo.policy.listening import image_tokens

    found = image_tokens(sampled.input_ids, sampled.mask, tiny.encoder.image_token)
    assert torch.equal(found, rows.input_ids == tiny.encoder.image_token)


def test_the_signals_go_straight_into_a_rule_and_no_hook_stays(tiny):
    rows, rule = rows_of(tiny), cz.shaper("pepo")
    advantage = torch.linspace(-1, 1, len(rows.mask))
    found = cz.shape(rule, advantage=advantage, mask=rows.mask, **heard(tiny, rows, rule.needs))
    means = (found.sum(1) / rows.mask.sum(1))[rows.mask.any(1)]
    torch.testing.assert_close(means, advantage[rows.mask.any(1)], atol=1e-5, rtol=0)
    with pytest.raises(RuntimeError, match="inside"), heard_block(tiny, rows):
        raise RuntimeError("inside")
    hooks = [m for m in tiny.model.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert not hooks


def heard_block(policy, rows, needs=("visual_similarity",), **settings):
    return cz.listen(policy.model, needs, input_ids=rows.input_ids, mask=rows.mask, **settings)


def test_gradient_checkpointing_inside_the_block_does_not_count_twice(tiny):
    rows, needs = rows_of(tiny), ("visual_similarity", "entropy")
    plain = heard(tiny, rows, needs)
    tiny.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    tiny.model.train()
    with heard_block(tiny, rows, needs) as found:
        for part in (slice(0, 2), slice(2, len(rows.mask))):
            tiny.model(**inputs_of(tiny, rows, part)).logits.float().square().mean().backward()
    for name in needs:
        torch.testing.assert_close(found[name], plain[name], atol=1e-5, rtol=0)
        assert not found[name].requires_grad


def test_adapters_are_listened_through(tiny):
    peft = pytest.importorskip("peft")
    rows, needs = rows_of(tiny), ("visual_similarity", "entropy")
    plain = heard(tiny, rows, needs)
    adapted = peft.get_peft_model(tiny.model, peft.LoraConfig(r=2, target_modules=["q_proj"]))
    found = heard(tiny, rows, needs, model=adapted)
    for name in needs:
        torch.testing.assert_close(found[name], plain[name], atol=1e-6, rtol=0)


def text_model():
    config = Qwen2Config(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1,
    )  # fmt: skip
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config).eval()


def test_a_model_of_text_gives_what_needs_no_image():
    model, ids = text_model(), torch.randint(50, (2, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 0, 1], [0, 1, 1]])
    with torch.no_grad(), cz.listen(model, ["entropy"], input_ids=ids, mask=mask) as found:
        logits = model(input_ids=ids).logits
    expected = torch.distributions.Categorical(logits=logits[:, 3:6]).entropy() * mask
    torch.testing.assert_close(found["entropy"], expected)
    looking = cz.listen(model, ["visual_similarity"], input_ids=ids, mask=mask)
    with pytest.raises(cz.UsageError, match="names no image_token_id"), looking:
        pass


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden": torch.zeros(2, 3, 7)}, r"hidden must be \[2, 3, 8\], a state for each token, got \[2, 3, 7\]"),
        ({"hidden": torch.zeros(2, 4, 8)}, r"hidden must be \[2, 3, 8\]"),
        ({"hidden": torch.zeros(2, 3, 8, dtype=torch.float64)}, "bring the states to the head's"),
        ({"ids": torch.full((2, 3), -100)}, r"ids must be in \[0, 11\), got -100 to -100"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"lm_head": torch.nn.Identity()}, "the language head must be a linear layer"),
    ],
)
def test_token_statistics_say_what_does_not_fit(change, said):
    given = {"hidden": torch.zeros(2, 3, 8), "lm_head": torch.nn.Linear(8, 11), "ids": torch.zeros(2, 3).long()}
    with pytest.raises(cz.UsageError, match=said):
        cz.token_statistics(**(given | change))


def test_what_cannot_be_heard_is_a_sentence(tiny):
    rows = rows_of(tiny)
    ids, mask = rows.input_ids, rows.mask
    cases = [
        (dict(needs=["entrpy"]), "no signal named 'entrpy'. Did you mean 'entropy'"),
        (dict(mask=mask[:1]), "mask must be"),
        (dict(mask=mask.long() * 2), "0 and 1"),
        (dict(temperature=0.0), "temperature must be above 0"),
        (dict(mask=torch.ones_like(ids)), "first token of a row, which no state emitted"),
        (dict(input_ids=torch.where(ids == tiny.encoder.image_token, 5, ids), needs=["visual_similarity"]),
         "row 0 has none"),
    ]  # fmt: skip
    for change, said in cases:
        given = {"needs": ["entropy"], "input_ids": ids, "mask": mask} | change
        with pytest.raises(cz.UsageError, match=said), cz.listen(tiny.model, given.pop("needs"), **given):
            pass
    unread = pytest.raises(cz.UsageError, match=f"of {len(mask)} rows the model has read 0")
    with heard_block(tiny, rows) as signals, unread:
        signals["visual_similarity"]
    with torch.no_grad(), heard_block(tiny, rows), pytest.raises(cz.UsageError, match="padding-free"):
        tiny.model(input_ids=ids[:, :-1])
