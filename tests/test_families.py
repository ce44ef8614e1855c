"""Every family of models: encoding, sampling, scoring, signals and updates against transformers' own numbers."""

import numpy as np
import pytest
import torch
from families import FAMILIES, VIDEO, joint, write
from PIL import Image
from steps import batch, pictures, trainer
from torch.nn.functional import normalize

from credit_zoo.errors import UsageError
from credit_zoo.policy.batch_layout import BatchLayout
from credit_zoo.policy.export import export_policy, weights_digest
from credit_zoo.policy.policy import ModelConfig, Policy
from credit_zoo.policy.shared_prefix import prompt_cache
from credit_zoo.policy.signals import FIRST_LAYER, listen, token_signals
from credit_zoo.rollout.sampling import SamplingParams, sample
from credit_zoo.training.step import prepare, update

SIGNALS = tuple(FIRST_LAYER)
QWEN = {"<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"}
PLACEHOLDERS = {
    "qwen2_vl": QWEN,
    "qwen2_5_vl": QWEN,
    "qwen3_vl": QWEN,
    "internvl": {"<IMG_CONTEXT>", "<img>", "</img>", "<video>"},
    "smolvlm": {"<image>", "<fake_token_around_image>", "<global-img>"},
    "llava_onevision": {"<image>", "<video>"},
    "gemma3": {"<image_soft_token>", "<start_of_image>", "<end_of_image>"},
}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    return write(request.param, tmp_path_factory.mktemp(request.param))


def load(folder, **settings):
    return Policy.load(ModelConfig(path=str(folder), **settings)).eval()


@pytest.fixture(scope="module")
def policy(folder):
    """Only read, never trained."""
    return load(folder)


def images():
    """A square, a wide and a tall picture."""
    return [image.resize(size) for image, size in zip(pictures(3), ((60, 60), (100, 40), (30, 60)), strict=True)]


def prompts(policy):
    texts = ["find the area of the side", "find the area", "find"]
    return policy.encoder.prompts(list(zip(images(), texts, strict=True)))


def rows_of(policy, seed=0, **settings):
    encoded = prompts(policy)
    settings = {"group": 3, "max_tokens": 24, **settings}
    drawn = sample(policy, encoded, SamplingParams(**settings), torch.Generator().manual_seed(seed))
    return BatchLayout.of(encoded, drawn), drawn


def alone(policy, rows, b, **options):
    """The model's own pass over response b behind its prompt: no padding, no cache, nothing else in the batch."""
    row = int(rows.row_of[b])
    ids = torch.cat([rows.prompts.ids[row][rows.prompts.mask[row]], rows.response_ids[b][rows.mask[b]]])[None]
    image = ids == policy.encoder.image_token
    kind = policy.model.config.model_type
    name = "token_type_ids" if kind == "gemma3" else "mm_token_type_ids"
    types = {name: image.int()} if kind == "gemma3" or kind.startswith("qwen") else {}
    with torch.no_grad():
        return ids, policy.model(input_ids=ids, use_cache=False, **types, **rows.prompts.vision[row], **options)


def scored(policy, rows):
    with listen(policy, rows, SIGNALS) as cosines:
        found = policy(rows, 1.0)
    return found.logp, found.entropy, token_signals(SIGNALS, found, cosines, rows.mask).values


# --- encoding ----------------------------------------------------------------------------------------------------


def test_a_prompt_has_as_many_image_tokens_as_the_vision_tower_gives_features(policy):
    encoded = prompts(policy)
    tokens = (encoded.ids == policy.encoder.image_token).sum(1).tolist()
    for row, count in zip(encoded.vision, tokens, strict=True):
        features = policy.base.get_image_features(**row, return_dict=True).pooler_output
        assert sum(one[..., 0].numel() for one in features) == count > 0
    assert not encoded.mask[:, 0].all() and encoded.mask[:, -1].all(), "the prompts are of unequal lengths"


def test_prompts_are_those_of_the_joint_processor(policy, folder):
    processor, template = joint(folder), policy.encoder.tokenizer.chat_template
    for image in images():
        content = [{"type": "image", "image": image}, {"type": "text", "text": "find the area"}]
        theirs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        ours = policy.encoder.prompts([(image, "find the area")])
        assert ours.ids[ours.mask].tolist() == theirs["input_ids"][0].tolist()
        assert set(ours.vision[0]) == set(theirs) & set(ours.vision[0]) and "pixel_values" in ours.vision[0]
        for name, value in ours.vision[0].items():
            torch.testing.assert_close(value, theirs[name])


def test_a_prompt_without_a_picture_reads_the_same_beside_prompts_with_one(policy):
    items = [(None, "find the area of the side"), (images()[1], "find the area")]
    together = policy.read_prompts(policy.encoder.prompts(items), prompt_cache()).hidden[:, -1]
    for item, state in zip(items, together, strict=True):
        alone = policy.read_prompts(policy.encoder.prompts([item]), prompt_cache())
        torch.testing.assert_close(alone.hidden[0, -1], state)


# --- sampling and scoring ----------------------------------------------------------------------------------------


def test_greedy_answers_are_those_of_generate(policy):
    rows, drawn = rows_of(policy, group=1, temperature=0.0)
    for b in range(len(drawn.ids)):
        ids = rows.prompts.ids[b][rows.prompts.mask[b]][None]
        image = (ids == policy.encoder.image_token).int()
        out = policy.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **{name: value for name, value in policy.base_inputs(ids, ids > -1, image).items() if "type" in name},
            **rows.prompts.vision[b],
            do_sample=False,
            max_new_tokens=24,
            suppress_tokens=list(policy.encoder.vision_tokens),
        )
        assert drawn.ids[b][drawn.mask[b]].tolist() == out[0, ids.shape[1] :].tolist()


def test_log_probabilities_of_sampler_trainer_and_the_whole_row_alone_are_one(policy):
    rows, drawn = rows_of(policy)
    logp = policy(rows, 1.0).logp
    torch.testing.assert_close(logp[rows.mask], drawn.logp[rows.mask], atol=1e-4, rtol=0)
    assert logp[rows.mask].std() > 0.1
    for b in range(len(drawn.ids)):
        ids, out = alone(policy, rows, b)
        logits = out.logits[0].float()
        logits[:, list(policy.encoder.vision_tokens)] = -torch.inf
        count = int(rows.mask[b].sum())
        expected = logits.log_softmax(-1)[:-1].gather(-1, ids[0, 1:, None])[-count:, 0]
        torch.testing.assert_close(logp[b][rows.mask[b]], expected, atol=1e-4, rtol=0)


def test_a_response_ends_at_every_token_that_ends_generation(policy):
    ends = {"<|im_end|>", FAMILIES[policy.model.config.model_type].end}
    assert set(policy.encoder.tokenizer.convert_ids_to_tokens(policy.encoder.stop_tokens)) == ends
    _, drawn = rows_of(policy, group=24, max_tokens=40)
    stops = torch.isin(drawn.ids, torch.tensor(policy.encoder.stop_tokens)) & drawn.mask
    assert torch.equal(stops.any(1), ~drawn.truncated) and (stops.sum(1) <= 1).all()


def test_the_picture_is_seen(policy):
    rows, _ = rows_of(policy)
    inverted = [Image.fromarray(255 - np.asarray(image)) for image in images()]
    shown = [policy.encoder.prompts([(image, "find the area") for image in some]) for some in (images(), inverted)]
    before, after = (policy(BatchLayout(seen, rows.row_of, rows.response_ids, rows.mask), 1.0)[0] for seen in shown)
    assert (before - after)[rows.mask].abs().max() > 1e-3


def test_vision_tokens_have_probability_0_in_sampler_and_trainer(policy):
    written = policy.encoder.tokenizer.convert_ids_to_tokens(policy.encoder.vision_tokens)
    assert set(written) == PLACEHOLDERS[policy.model.config.model_type]
    rows, drawn = rows_of(policy)
    vision = torch.tensor(policy.encoder.vision_tokens)
    assert not torch.isin(drawn.ids[drawn.mask], vision).any()
    for token in vision:
        ids = torch.full_like(rows.response_ids, int(token))[:, :1]
        logp = policy(BatchLayout(rows.prompts, rows.row_of, ids, rows.mask[:, :1]), 1.0).logp
        assert logp.exp().eq(0).all()


# --- signals -----------------------------------------------------------------------------------------------------


def test_hooks_give_the_mean_cosine_over_stored_hidden_states(policy):
    rows, _ = rows_of(policy)
    found = scored(policy, rows)[2]
    for b in range(len(rows.mask)):
        ids, out = alone(policy, rows, b, output_hidden_states=True)
        image, count = ids[0] == policy.encoder.image_token, int(rows.mask[b].sum())
        states = [normalize(state[0].float(), dim=-1) for state in out.hidden_states]
        assert len(states) == 4
        for name, first in FIRST_LAYER.items():
            expected = torch.stack([(state[-count:] @ state[image].T).mean(-1) for state in states[first:]]).mean(0)
            torch.testing.assert_close(found[name][b][rows.mask[b]], expected, atol=1e-4, rtol=0)


# --- training ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("saving", [False, True])
@pytest.mark.parametrize("layout", ["shared", "plain"])
def test_neither_layout_nor_gradient_checkpointing_changes_values_signals_or_gradients(folder, layout, saving):
    """Against one row per response, each with its own prompt and picture, every state kept."""
    reference = load(folder, layout="plain")
    rows, _ = rows_of(reference)
    other = load(folder, layout=layout, gradient_checkpointing=saving).train(saving)
    results = []
    for one in (reference, other):
        with listen(one, rows, SIGNALS) as cosines:
            found = one(rows, 1.0)
            found.logp[rows.mask].mean().backward()
        signals = token_signals(SIGNALS, found, cosines, rows.mask).values
        gradient = torch.cat([p.grad.flatten() for p in one.parameters() if p.grad is not None])
        results.append((found.logp[rows.mask], signals, gradient))
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=0)
    assert results[0][2].norm() > 1e-2


def test_an_update_moves_the_language_model_and_leaves_the_vision_tower(folder):
    t = trainer(load(folder), shaper="pepo")
    language = {id(parameter) for parameter in t.policy.decoder.parameters()}
    vision = {id(parameter) for parameter in t.policy.vision_parameters()}
    before = [(parameter, parameter.clone()) for parameter in t.policy.parameters()]
    done = update(t, prepare(t, batch(t.policy, count=2, group=3), 0.5), 1e-3)
    moved = {id(parameter) for parameter, old in before if not torch.equal(parameter, old)}
    assert np.isfinite(done.loss) and done.grad_norm > 0
    assert len(moved & language) > 0.9 * len(language) and not moved & vision and vision


# --- adapters ----------------------------------------------------------------------------------------------------


def test_adapters_train_alone_and_export_merged_as_a_plain_folder(folder, tmp_path):
    pytest.importorskip("peft")
    plain, adapted = load(folder), load(folder, lora_rank=4)
    assert weights_digest(plain) == weights_digest(adapted), "an adapter starts as no change"
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    inside = {name for name, _ in adapted.decoder.named_parameters() if "lora_" in name}
    assert len(trained) == len(inside) == 2 * 7 * 3 and all("lora_" in name for name in trained)
    t = trainer(adapted, shaper="pepo")
    update(t, prepare(t, batch(t.policy, count=2, group=3), 0.5), 1e-3)
    with torch.no_grad():
        for name, parameter in t.policy.named_parameters():
            if "lora_B" in name:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) / 10)
    rows, _ = rows_of(t.policy)
    again = load(export_policy(t.policy, tmp_path / "merged"))
    assert set(again.model.state_dict()) == set(plain.model.state_dict())
    assert again.encoder.stop_tokens == plain.encoder.stop_tokens and again.encoder.video == VIDEO
    assert torch.equal(prompts(again).ids, rows.prompts.ids)
    here, there, before = (one(rows, 1.0).logp for one in (t.policy, again, plain))
    torch.testing.assert_close(there[rows.mask], here[rows.mask], atol=1e-4, rtol=0)
    assert (before - here)[rows.mask].abs().max() > 1e-2


def test_a_rank_below_0_is_refused():
    with pytest.raises(UsageError, match="lora_rank"):
        ModelConfig(lora_rank=-1)
