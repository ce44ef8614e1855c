"""The policy's numbers against transformers' own, and the visual signals against stored hidden states."""

import dataclasses

import pytest
import torch
from steps import pictures, prompts, responses
from torch.nn.functional import normalize

from credit_zoo.errors import UsageError
from credit_zoo.policy.batch_layout import BatchLayout
from credit_zoo.policy.policy import ModelConfig, Policy
from credit_zoo.policy.signals import FIRST_LAYER, listen, token_signals
from credit_zoo.types import Responses


def rows_of(policy, **settings):
    return BatchLayout.of(prompts(policy, settings.get("count", 3)), responses(policy, **settings))


def pixels(policy, rows):
    vision = [rows.prompts.vision[i] for i in rows.row_of.tolist()]
    return {name: torch.cat([one[name] for one in vision]) for name in vision[0]}


def whole_model(policy, rows, **options):
    inputs = policy.base_inputs(rows.input_ids, rows.attention_mask, rows.image_mask(policy.encoder.image_token))
    with torch.no_grad():
        return policy.model(**inputs, **pixels(policy, rows), **options)


def mean_cosines(policy, rows, counted):
    """The mean cosine to the image over some of the stored hidden states `[B, T]`, and how many decoder layers there
    are.
    """
    states = whole_model(policy, rows, output_hidden_states=True).hidden_states
    image = rows.image_mask(policy.encoder.image_token)
    found = torch.zeros(rows.mask.shape)
    for b in range(len(found)):
        per_layer = [
            (normalize(h[b, rows.prompt_length :], dim=-1) @ normalize(h[b, image[b]], dim=-1).T).mean(-1)
            for h in states[counted]
        ]
        found[b] = torch.stack(per_layer).mean(0)
    return found, len(states) - 1


def test_log_probabilities_and_entropies_are_those_of_the_models_logits(tiny):
    rows = rows_of(tiny)
    logp, entropy, collision = tiny(rows, temperature=0.7)
    logits = whole_model(tiny, rows).logits[:, rows.prompt_length - 1 : -1] / 0.7
    logits[..., list(tiny.encoder.vision_tokens)] = -torch.inf
    expected = torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(logp[rows.mask], expected.log_prob(rows.response_ids)[rows.mask], atol=1e-5, rtol=0)
    torch.testing.assert_close(entropy[rows.mask], expected.entropy()[rows.mask], atol=1e-5, rtol=0)
    torch.testing.assert_close(collision[rows.mask], expected.probs.square().sum(-1)[rows.mask], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", FIRST_LAYER)
@pytest.mark.parametrize("length", [1, 12, 80])  # 80 is longer than the prompts
def test_hooks_give_the_mean_cosine_over_stored_hidden_states(tiny, name, length):
    rows = rows_of(tiny, length=length)
    with listen(tiny, rows, [name]) as cosines:
        got = tiny(rows, 1.0)
    found = token_signals([name], got, cosines, rows.mask).values[name]
    expected, layers = mean_cosines(tiny, rows, slice(FIRST_LAYER[name], None))
    torch.testing.assert_close(found[rows.mask], expected[rows.mask], atol=1e-6, rtol=0)
    assert layers == 3 and found[~rows.mask].eq(0).all()


@pytest.mark.parametrize(("chosen", "counted"), [("1-2", slice(1, 3)), ("2-2", slice(2, 3)), ("1-3", slice(1, 4))])
def test_chosen_layers_are_the_ones_that_count_in_visual_similarity_and_in_no_other(tiny, chosen, counted):
    rows, names = rows_of(tiny), ("visual_similarity", "visual_similarity_last")
    policy = Policy(tiny.model, tiny.encoder, dataclasses.replace(tiny.settings, similarity_layers=chosen))
    with listen(policy, rows, names) as cosines:
        found = token_signals(names, policy(rows, 1.0), cosines, rows.mask).values
    for name, layers in zip(names, (counted, slice(-1, None)), strict=True):
        expected, _ = mean_cosines(tiny, rows, layers)
        torch.testing.assert_close(found[name][rows.mask], expected[rows.mask], atol=1e-6, rtol=0)


@pytest.mark.parametrize("chosen", ["0-2", "3-2", "2", "-1", "1-", "1:3", "first-last", ""])
def test_layers_that_are_no_range_are_refused_with_the_form(chosen):
    with pytest.raises(UsageError, match=r"model\.similarity_layers must be all, or .* as in 1-10, got"):
        ModelConfig(similarity_layers=chosen)


def test_a_layer_that_the_decoder_does_not_have_is_refused_as_the_model_is_made(tiny):
    settings = dataclasses.replace(tiny.settings, similarity_layers="2-4")
    with pytest.raises(UsageError, match="similarity_layers=2-4 asks for layer 4, but this model's decoder has 3"):
        Policy(tiny.model, tiny.encoder, settings)


def test_gradient_checkpointing_does_not_make_the_hooks_count_twice(tiny):
    rows = rows_of(tiny)
    with listen(tiny, rows, ["visual_similarity"]) as plain:
        tiny(rows, 1.0)
    checkpointing = dataclasses.replace(tiny.settings, gradient_checkpointing=True)
    policy = Policy(tiny.model, tiny.encoder, checkpointing).train()
    with listen(policy, rows, ["visual_similarity"]) as again:
        policy(rows, 1.0).logp.sum().backward()
    torch.testing.assert_close(again.means(), plain.means(), atol=1e-6, rtol=0)


def test_no_hook_stays_behind(tiny):
    rows = rows_of(tiny)
    with pytest.raises(RuntimeError, match="inside"), listen(tiny, rows, ["visual_similarity"]):
        raise RuntimeError("inside")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tiny.modules())


def test_a_sampled_image_token_is_no_image(tiny):
    rows = rows_of(tiny)
    ids = rows.response_ids.clone()
    ids[:, 0] = tiny.encoder.image_token
    changed = BatchLayout(rows.prompts, rows.row_of, ids, rows.mask)
    assert changed.image_mask(tiny.encoder.image_token).sum() == 36 * len(ids)


def test_a_row_without_an_image_is_refused_where_the_image_is_looked_at(tiny):
    text_only = tiny.encoder.prompts([(None, "find the area")])
    ids = torch.full((1, 4), 5)
    ones = torch.ones(1, 4, dtype=torch.bool)
    rows = BatchLayout.of(text_only, Responses(ids, ones, torch.zeros(1, 4), torch.zeros(1) > 0, torch.zeros(1).long()))
    with pytest.raises(UsageError, match="prompt of row 0 has none"), listen(tiny, rows, ["visual_similarity"]):
        pass
    assert tiny(rows, 1.0).logp.isfinite().all()


def test_every_picture_is_encoded_once_however_many_responses_it_has(tiny):
    seen = []
    tiny.base.visual.register_forward_pre_hook(lambda module, args, kwargs: seen.append(len(args[0])), with_kwargs=True)
    tiny(rows_of(tiny, count=3, group=4), 1.0)
    assert seen[-1] == 3 * 144  # patches


def test_the_prompts_expand_one_image_token_per_merged_patch_and_decoding_is_lossless(tiny):
    text = "<think> A=50; sum=50+60=110</think><answer>70</answer> naïve ∠"
    ids, mask = tiny.encoder.responses([text])
    assert tiny.encoder.decode(ids, mask) == [text]
    encoded = tiny.encoder.prompts([(pictures(1)[0], "find x")])
    assert (encoded.ids == tiny.encoder.image_token).sum() == 36 and encoded.mask.sum() < encoded.mask.numel()


def test_vision_is_frozen_and_nothing_else(tiny):
    frozen = {name.split(".")[2] for name, p in tiny.named_parameters() if not p.requires_grad}
    trained = {name.split(".")[2] for name, p in tiny.named_parameters() if p.requires_grad}
    assert frozen == {"visual"} and trained == {"language_model"}


@pytest.mark.parametrize(
    ("text", "said"), [("\nIt needs torchvision.\n", "It needs torchvision."), ("", "ImportError")]
)
def test_why_a_checkpoint_cannot_be_read_is_never_empty(monkeypatch, text, said):
    """transformers begins some of its import errors with an empty line."""
    from credit_zoo.policy import policy

    def fails(*given, **options):
        raise ImportError(text)

    monkeypatch.setattr(policy.AutoConfig, "from_pretrained", fails)
    with pytest.raises(UsageError, match=f"could not be read: {said} Give a folder"):
        Policy.load(ModelConfig(path="anywhere"))
