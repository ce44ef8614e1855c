"""Degraded views and the signals of them, against whole passes with all logits, and what they must not depend on."""

import dataclasses
import math
import re

import pytest
import torch
from families import FAMILIES, write
from PIL import Image
from steps import batch, loss_and_gradient, pictures, prompts, reordered, responses, trainer, wider
from torch.distributions import Categorical

from credit_zoo.cli import explanation_of, parse
from credit_zoo.errors import UsageError
from credit_zoo.experiment.config import resolve
from credit_zoo.experiment.setting_roles import deciding
from credit_zoo.policy.batch_layout import BatchLayout
from credit_zoo.policy.measurement import measure_tokens
from credit_zoo.policy.packing import MicroBatch
from credit_zoo.policy.policy import ModelConfig, Policy
from credit_zoo.policy.truncation import WHOLE, Truncation
from credit_zoo.policy.views import Noise, NoPicture, Patches, Swapped, seen_through
from credit_zoo.policy.views import pictures as pictures_of
from credit_zoo.registry import VIEWS
from credit_zoo.training.step import measure_signals, prepare, update

SIGNALS = ("view_logp", "view_entropy", "view_divergence")
EVERY_VIEW = pytest.mark.parametrize("view", [VIEWS[name].factory() for name in VIEWS], ids=list(VIEWS))


@pytest.fixture
def seeing(tiny):
    """A policy that looks at the picture: with random weights as they are, it hardly does."""
    with torch.no_grad():
        tiny.base.visual.merger.mlp[-1].weight.mul_(100)
        for parameter in tiny.decoder.layers.parameters():
            if parameter.ndim > 1:
                parameter.mul_(10)
    return tiny


def rows_of(policy, **settings):
    return BatchLayout.of(prompts(policy, settings.get("count", 3)), responses(policy, **settings))


def logits(policy, rows, temperature):
    """Of every response token, by the model's own pass, float64."""
    image = rows.image_mask(policy.encoder.image_token)
    inputs = policy.base_inputs(rows.input_ids, rows.attention_mask, image)
    vision = [rows.prompts.vision[row] for row in rows.row_of.tolist()]
    seen = {name: torch.cat([one[name] for one in vision]) for name in vision[0]}
    with torch.no_grad():
        z = policy.model(**inputs, **seen).logits[:, rows.prompt_length - 1 : -1].double() / temperature
    z[..., list(policy.encoder.vision_tokens)] = -1e4
    return z


def kept(z, ids, truncation):
    """Without what the truncation leaves out; the sampled token is left."""
    floor = truncation.floor(z.flatten(0, 1).float()).view(z.shape[:2])
    out = (z < floor[..., None].double()).scatter(-1, ids[..., None], False)
    return z.masked_fill(out, -1e4)


# --- the signals -------------------------------------------------------------------------------------------------


@EVERY_VIEW
@pytest.mark.parametrize("layout", ["shared", "plain"])
@pytest.mark.parametrize("truncation", [WHOLE, Truncation(5, 0.9)], ids=["whole", "truncated"])
def test_signals_of_a_view_are_those_of_two_passes_with_all_logits(seeing, view, layout, truncation):
    tiny = seeing
    policy = Policy(tiny.model, tiny.encoder, dataclasses.replace(tiny.settings, layout=layout, logits_at_once=5000))
    rows = rows_of(tiny)
    with torch.no_grad():
        _, signals = measure_tokens(policy, policy, rows, SIGNALS, 0.7, truncation, view)
    behind = BatchLayout(seen_through(rows, view, tiny).degraded, rows.row_of, rows.response_ids, rows.mask)
    ids = rows.response_ids
    p, q = (Categorical(logits=kept(logits(tiny, one, 0.7), ids, truncation)) for one in (rows, behind))
    middle = (p.probs + q.probs) / 2
    apart = sum((one.probs * (one.logits - middle.log())).nan_to_num().sum(-1) for one in (p, q)) / 2
    for name, expected in zip(SIGNALS, (q.log_prob(ids), q.entropy(), apart), strict=True):
        found = signals.values[name]
        assert found[~rows.mask].eq(0).all()
        torch.testing.assert_close(found[rows.mask], expected[rows.mask].float(), atol=1e-5, rtol=0)
    assert apart[rows.mask].max() > 1e-2


def test_the_divergence_of_distributions_that_share_nothing_is_log_2():
    from credit_zoo.policy.divergence import compared_statistics

    head = torch.nn.Linear(2, 4, bias=False)
    head.weight.data = torch.tensor([[200.0, 0], [200, 0], [0, 200], [0, 200]])
    here, there = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    found = compared_statistics(here, there, head, torch.tensor([2, 0]), at_once=1)
    torch.testing.assert_close(found.divergence, torch.tensor([math.log(2), 0.0]))
    torch.testing.assert_close(found.entropy, torch.full((2,), math.log(2)))
    torch.testing.assert_close(found.logp, torch.full((2,), math.log(0.5)))


def test_no_more_logits_than_asked_for_exist_at_once_in_a_comparison():
    from test_lm_head import Counting, case

    from credit_zoo.policy.divergence import compared_statistics

    linear, hidden, ids = case(tokens=20)
    kernel = Counting()
    compared_statistics(hidden, hidden.detach() + 1, linear, ids, at_once=240, kernel=kernel)
    assert kernel.forward == [(40, 6)] * 5 and kernel.backward == []


@pytest.mark.parametrize(
    ("shaper", "passes"),
    [("uniform", 1), ("pepo", 1), ("gate", 2), ("vepo", 2), ("mean(gate,rlsd)", 2), ("vppo", 3), ("high_entropy", 2)],
)
def test_a_view_is_read_once_and_only_if_a_rule_asks(tiny, shaper, passes):
    """One pass more for all rules that ask, and one for a rule that looks at several responses before the gradient."""
    from credit_zoo.training.step import old_policy_pass

    t, seen = trainer(tiny, shaper), []
    t.policy.register_forward_pre_hook(lambda module, args: seen.append(args[0].prompt_length))
    update_batch = prepare(t, batch(t.policy), 0.5)
    assert (update_batch.rows.degraded is not None) == (passes > 1 and shaper != "high_entropy")
    update(t, old_policy_pass(t, update_batch) if t.two_pass else update_batch, 1e-3)
    assert len(seen) == passes


def test_a_prompt_is_read_once_for_its_group_under_a_view_too(tiny):
    read = []
    tiny.base.visual.register_forward_pre_hook(lambda module, args, kwargs: read.append(len(args[0])), with_kwargs=True)
    rows = rows_of(tiny, count=3, group=4)
    read.clear()
    measure_tokens(tiny, tiny, rows, ["view_logp"], view=Patches())
    assert read == [3 * 144, 3 * 144]


# --- what they do not depend on ----------------------------------------------------------------------------------


def signals_of(t, data):
    return measure_signals(t, prepare(t, data, 0.5))[0].signals.values


@EVERY_VIEW
def test_neither_micro_batches_nor_padding_nor_the_order_of_rows_change_a_signal(seeing, view):
    tiny = seeing

    def made(micro_batch=64):
        t = trainer(tiny, "vepo", micro_batch)
        return dataclasses.replace(t, train=dataclasses.replace(t.train, view=view))

    data, t = batch(tiny), made()
    whole = signals_of(t, data)
    torch.testing.assert_close(signals_of(made(3), data), whole, atol=1e-5, rtol=0)
    more = signals_of(t, wider(data, tiny.encoder.pad_token))
    torch.testing.assert_close({name: values[:, :12] for name, values in more.items()}, whole, atol=1e-5, rtol=0)
    order = torch.randperm(len(data.group), generator=torch.Generator().manual_seed(3))
    moved = {name: values[order] for name, values in whole.items()}
    torch.testing.assert_close(signals_of(t, reordered(data, order)), moved, atol=1e-5, rtol=0)


@EVERY_VIEW
def test_a_question_is_degraded_alike_whoever_stands_beside_it_on_whatever_process(tiny, view):
    whole = prompts(tiny, 4)
    pool = pictures_of(whole, tiny)
    together = view(whole, tiny, pool)
    for part in ([2], [3, 0]):
        own = torch.tensor(part)
        apart = view(whole.select(own), tiny, pool[::-1])
        for one, k in enumerate(part):
            assert torch.equal(apart.ids[one][apart.mask[one]], together.ids[k][together.mask[k]])
            assert apart.vision[one].keys() == together.vision[k].keys()
            assert all(torch.equal(value, together.vision[k][name]) for name, value in apart.vision[one].items())


def test_a_rule_of_a_view_gives_one_loss_however_the_step_is_cut(seeing):
    tiny = seeing
    data = batch(tiny)
    for shaper in ("gate", "vppo"):
        whole, parts = (loss_and_gradient(trainer(tiny, shaper, size), data) for size in (64, 5))
        torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-4)


def test_a_gate_that_is_open_is_uniform_through_the_whole_step(tiny):
    data = batch(tiny)
    opened = loss_and_gradient(trainer(tiny, "gate", beta=0.0, floor=1.0), data)
    torch.testing.assert_close(opened, loss_and_gradient(trainer(tiny, "uniform"), data), atol=1e-6, rtol=1e-5)


def test_a_micro_batch_keeps_the_degraded_prompts(tiny):
    rows = seen_through(rows_of(tiny), Patches(), tiny)
    assert rows.select(MicroBatch(torch.tensor([1, 4]), 8)).degraded is rows.degraded
    assert rows.to(torch.device("cpu")).degraded is not None


# --- the views ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "black"), [(0.5, 72), (0.25, 36), (1.0, 144), (1e-9, 1)])
def test_a_share_of_the_patches_is_black_and_the_others_are_as_they_were(tiny, share, black):
    whole = prompts(tiny)
    for before, after in zip(whole.vision, Patches(share)(whole, tiny, ()).vision, strict=True):
        changed = (before["pixel_values"] != after["pixel_values"]).any(1)
        assert changed.sum() == black and after["pixel_values"][changed].eq(-1).all()
        assert torch.equal(before["image_grid_thw"], after["image_grid_thw"])


def test_questions_of_one_text_and_other_pictures_lose_other_patches(tiny):
    asked = tiny.encoder.prompts([(image, "find the area") for image in pictures(2)])

    def black(view):
        return [one["pixel_values"].eq(-1).all(1) for one in view(asked, tiny, ()).vision]

    first, second = black(Patches())
    assert not torch.equal(first, second)
    assert not torch.equal(first, black(Patches(seed=1))[0])
    assert torch.equal(first, black(Patches())[0])


def test_noise_has_the_deviation_that_it_is_told(tiny):
    whole = prompts(tiny)
    added = Noise(3.0)(whole, tiny, ()).vision[0]["pixel_values"] - whole.vision[0]["pixel_values"]
    assert added.std() == pytest.approx(3, rel=0.02) and added.mean() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_a_swapped_picture_is_never_a_questions_own(tiny, seed):
    for count in (2, 3, 4):
        whole = prompts(tiny, count)
        pool = pictures_of(whole, tiny)
        shown = [one.digest for one in pictures_of(Swapped(seed)(whole, tiny, pool), tiny)]
        own = [one.digest for one in pool]
        assert sorted(shown) == sorted(own) and all(a != b for a, b in zip(shown, own, strict=True))


def test_a_swapped_picture_is_its_own_only_where_there_is_no_other(tiny):
    image = pictures(1)[0]
    asked = tiny.encoder.prompts([(image, "find the area"), (image, "find")])
    for pool in (pictures_of(asked, tiny), ()):
        assert torch.equal(Swapped()(asked, tiny, pool).ids, asked.ids)
    other = pictures_of(prompts(tiny, 3).select(torch.tensor([2])), tiny)
    shown = pictures_of(Swapped()(asked, tiny, other), tiny)
    assert {one.digest for one in shown} == {other[0].digest}, "a question that is not in the pool is shown one of it"


@EVERY_VIEW
def test_a_prompt_without_a_picture_is_refused(tiny, view):
    rows = BatchLayout.of(tiny.encoder.prompts([(None, "find the area")] * 3), responses(tiny))
    with pytest.raises(UsageError, match="prompt of row 0 has none"):
        measure_tokens(tiny, tiny, rows, ["view_logp"], view=view)


def test_signals_of_no_view_are_refused(tiny):
    with pytest.raises(UsageError, match="not which view"):
        measure_tokens(tiny, tiny, rows_of(tiny), ["view_logp"])


def test_pixels_of_another_shape_are_refused_with_a_way_out(tiny):
    whole = prompts(tiny, 1)
    odd = dataclasses.replace(whole, vision=({"pixel_values": torch.zeros(1, 1, 1)},))
    with pytest.raises(UsageError, match=r"gives pixel_values \(1, 1, 1\). Choose view=no_picture"):
        Patches()(odd, tiny, ())


@pytest.mark.parametrize(("make", "named"), [(Patches, "patches.share"), (Noise, "noise.std")])
def test_a_view_that_changes_nothing_is_refused(make, named):
    with pytest.raises(UsageError, match=named):
        make(0.0)


# --- as it is typed ----------------------------------------------------------------------------------------------


def resolved(*words):
    return resolve(parse(words))


@pytest.mark.parametrize(
    ("words", "view"),
    [
        (["shaper=tor"], NoPicture()),
        (["shaper=vepo"], Noise(2.0)),
        (["shaper=vppo", "patches.share=0.7"], Patches(0.7)),
        (["shaper=vppo", "view=swapped", "swapped.seed=3"], Swapped(3)),
        (["shaper=permuted(vppo)", "train.view=noise", "noise.std=3"], Noise(3.0)),
    ],
)
def test_a_view_is_chosen_by_its_name(words, view):
    config = resolved(*words)
    assert config.train.view == view
    assert deciding(config, "train")["train.view"].startswith(VIEWS.of(view).name)


def test_a_run_whose_rule_looks_at_no_view_is_not_decided_by_one():
    assert "train.view" not in deciding(resolved("shaper=pepo"), "train")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shaper=pepo", "view=noise"], "train.view was set, but a run that looks at no degraded picture does not"),
        (["shaper=pepo", "patches.share=0.4"], "patches.share was set, but shaper=pepo does not use it"),
        (["shaper=gate", "patches.share=0.4"], "patches.share was set, but view=no_picture does not use it"),
        (["shaper=gate", "view=patch"], "no view named 'patch'. Did you mean 'patches'?"),
        (["shaper=gate", "view=patches", "patches.share=0"], "patches.share must be in"),
        (["shaper=gate", "view=patches", "patches.shares=1"], "no setting of 'patches' named 'shares'"),
        (["shaper=gate", "view=swapped", "train.prompts=1"], "leaves view=swapped no other picture"),
        (["eval_only=true", "patches.share=0.4"], "patches.share was set, but eval_only=true trains nothing"),
    ],
)
def test_a_view_that_does_not_fit_is_refused(words, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        resolved(*words)


def test_every_view_explains_itself():
    for name in VIEWS:
        assert f"view {name}: " in explanation_of(name)


# --- every family ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request, tmp_path_factory):
    if request.param == "smolvlm":
        pytest.importorskip("num2words")  # its processor asks for it
    return Policy.load(ModelConfig(path=str(write(request.param, tmp_path_factory.mktemp(request.param))))).eval()


SIZES = ((60, 60), (100, 40), (30, 60))
TEXTS = ("find the area of the side", "find the area", "find")


def asked_of(policy, images):
    return policy.encoder.prompts(list(zip(images, TEXTS, strict=True)))


def shown():
    return [image.resize(size) for image, size in zip(pictures(3), SIZES, strict=True)]


def pixels(vision):
    """Those that the vision tower looks at."""
    seen = vision.get("pixel_attention_mask")
    values = vision["pixel_values"]
    return values if seen is None else values[seen.bool()[:, :, None].expand_as(values)]


def test_a_picture_of_black_patches_is_what_the_processor_makes_of_a_black_picture(policy):
    black = asked_of(policy, [Image.new("RGB", size) for size in SIZES])
    ours = Patches(1.0)(asked_of(policy, shown()), policy, ())
    assert torch.equal(ours.ids, black.ids)
    for mine, theirs in zip(ours.vision, black.vision, strict=True):
        torch.testing.assert_close(pixels(mine), pixels(theirs))


def test_half_of_the_pixels_are_black(policy):
    before, after = (
        one.vision for one in (asked_of(policy, shown()), Patches()(asked_of(policy, shown()), policy, ()))
    )
    for one, other in zip(before, after, strict=True):
        assert 0.3 < (one["pixel_values"] != other["pixel_values"]).float().mean() < 0.6


def test_a_swapped_prompt_is_that_of_the_other_picture_whatever_its_size(policy):
    images = shown()
    whole = asked_of(policy, images)
    pool = pictures_of(whole, policy)
    swapped = Swapped()(whole, policy, pool)
    taken = [[one.digest for one in pool].index(one.digest) for one in pictures_of(swapped, policy)]
    expected = asked_of(policy, [images[k] for k in taken])
    assert torch.equal(swapped.ids, expected.ids) and torch.equal(swapped.mask, expected.mask)
    for mine, theirs in zip(swapped.vision, expected.vision, strict=True):
        torch.testing.assert_close(dict(mine), dict(theirs))


def test_without_the_picture_no_token_stands_for_one(policy):
    bare = NoPicture()(asked_of(policy, shown()), policy, ())
    assert not torch.isin(bare.ids, torch.tensor(policy.encoder.vision_tokens)).any() and bare.vision == ({},) * 3
    if policy.model.config.model_type.startswith("qwen"):
        assert torch.equal(bare.ids, policy.encoder.prompts([(None, text) for text in TEXTS]).ids)


@EVERY_VIEW
def test_every_family_is_scored_under_every_view(policy, view):
    ids = torch.randint(10, 40, (6, 8), generator=torch.Generator().manual_seed(0))
    rows = BatchLayout(asked_of(policy, shown()), torch.arange(6) // 2, ids, torch.ones(6, 8, dtype=torch.bool))
    with torch.no_grad():
        found, signals = measure_tokens(policy, policy, rows, ("logp", *SIGNALS), view=view)
        behind = seen_through(rows, view, policy).degraded
        alone = policy(BatchLayout(behind, rows.row_of, ids, rows.mask), 1.0)
    torch.testing.assert_close(signals.view_logp, alone.logp, atol=1e-5, rtol=0)
    torch.testing.assert_close(signals.view_entropy, alone.entropy, atol=1e-5, rtol=0)
    torch.testing.assert_close(signals.logp, found.logp)
    assert (signals.view_logp - signals.logp).abs().max() > 1e-3 and signals.view_divergence.max() > 1e-6
