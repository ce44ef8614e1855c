"""Inside TRL: uniform is TRL alone, bit for bit; with a rule the loss is handed what the zoo makes of the same samples."""

import copy
import logging
from dataclasses import dataclass
from functools import cache

import pytest
import torch

pytest.importorskip("trl")

from torch.nn.functional import normalize
from trl import GRPOTrainer
from trl_runs import GROUP, TOKENS, Watched, config, losses_of, parts, spread_reward, text_only, trainer, weights_of

import credit_zoo as cz
from credit_zoo.hosts import rule as host_rule
from credit_zoo.hosts.trl import GIVEN
from credit_zoo.hosts.trl_options import LOSSES
from credit_zoo.registry import SHAPERS
from credit_zoo.trl import Shaped

GIVABLE = [name for name in (*SHAPERS, "permuted(pepo)", "position_only(entropy)", "mean(pepo,entropy)")
           if set(SHAPERS[name].facts.needs) <= set(GIVEN)]  # fmt: skip
OTHERS = [name for name in SHAPERS if name not in GIVABLE]


# --- uniform is TRL alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"loss_type": "dapo"},
        {"loss_type": "grpo", "gradient_accumulation_steps": 4, "scale_rewards": "batch"},
        {"loss_type": "dr_grpo", "num_iterations": 2, "scale_rewards": "none"},
        *(
            pytest.param(settings, marks=pytest.mark.slow)
            for settings in (
                {"loss_type": "sapo", "beta": 0.04, "steps_per_generation": 2, "max_steps": 3},
                {"loss_type": "cispo", "epsilon_high": 5.0},
                {"loss_type": "vespo", "num_iterations": 2, "multi_objective_aggregation": "normalize_then_sum"},
                {"loss_type": "bnpo", "top_entropy_quantile": 0.5, "off_policy_mask_threshold": 0.1},
            )
        ),
    ],
    ids=lambda settings: settings["loss_type"],
)
def test_uniform_gives_bit_for_bit_the_losses_and_weights_of_trl_alone(tmp_path, settings):
    settings = {"per_device_train_batch_size": GROUP, **settings}
    done = []
    for kind in (GRPOTrainer, Shaped(GRPOTrainer)):
        one = trainer(tmp_path, kind, **settings)
        one.train()
        done.append((losses_of(one), weights_of(one)))
    (losses, weights), (theirs, others) = done
    # A mean over all tokens of advantages that cancel is 0, and its gradient is not.
    assert losses == theirs and (any(losses) or settings["loss_type"] == "bnpo")
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    start = dict(parts().model.named_parameters())
    assert any(not torch.equal(weights[name], start[name]) for name in weights)


# --- a rule: what the zoo makes of the same samples ----------------------------------------------------------------


class Given(Watched):
    """Is handed its samples: of unequal lengths, any tokens."""

    drawn = None

    def _generate(self, prompts):
        if self.drawn is None:
            found = list(super()._generate(prompts))
            generator = torch.Generator().manual_seed(0)
            size = len(self._tokenizer) // 2
            found[1] = [
                torch.randint(5, size, (length,), generator=generator).tolist()
                for length in torch.randint(2, TOKENS + 1, (len(prompts),), generator=generator).tolist()
            ]
            if len(found) == 9:  # older TRL counts tokens here
                found[4] = torch.tensor(sum(map(len, found[1])))
            self.drawn = tuple(found)
        return self.drawn


@cache
def shared(folder):
    """One trainer for many rules and losses, and its samples."""
    made = trainer(folder, Shaped(Given), loss_type="grpo")
    rows = [made.train_dataset[k] for k in (0, 1) for _ in range(GROUP)]
    return made, rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trl")


def measured(made, batch):
    """The signals of TRL's samples from stored states and whole logits: nothing of the adapter's."""
    names = ("pixel_values", "image_grid_thw", "mm_token_type_ids")
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    seen = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    with torch.no_grad():
        out = made.model(
            input_ids=ids, attention_mask=seen, output_hidden_states=True, **{n: batch[n] for n in names if n in batch}
        )
    width = batch["prompt_ids"].shape[1]
    found = torch.distributions.Categorical(logits=out.logits[:, width - 1 : -1].float() / made.temperature)
    signals = {
        "logp": found.log_prob(batch["completion_ids"]),
        "entropy": found.entropy(),
        "collision": found.probs.square().sum(-1),
        "log_ratio": torch.zeros(batch["completion_ids"].shape),
    }
    image = (ids == getattr(made.model.config, "image_token_id", -1)) & (torch.arange(ids.shape[1]) < width)
    per_layer = []
    for states in out.hidden_states if image.any() else ():
        unit = normalize(states, dim=-1)
        per_layer.append(torch.stack([(u[width:] @ u[i].T).mean(-1) for u, i in zip(unit, image, strict=True)]))
    if per_layer:
        signals["visual_similarity"] = torch.stack(per_layer[1:]).mean(0)
        signals["visual_similarity_release"] = torch.stack(per_layer).mean(0)
        signals["visual_similarity_last"] = per_layer[-1]
    return signals


def the_zoo_s(made, batch, advantage, group, rule, progress=0.0, shown=None):
    """The rule's token advantages of TRL's samples, from `shown` signals or from measuring anew."""
    mask = batch["completion_mask"].bool()
    given = measured(made, batch) if shown is None else shown
    signals = {name: given[name] for name in SHAPERS.of(rule).facts.needs}
    return cz.shape(
        rule, advantage=advantage, mask=mask, group=group, ids=batch["completion_ids"], progress=progress, **signals
    )


def run_once(made, rows, rule, loss_type="grpo", **attributes):
    """TRL samples, scores and computes one loss; its samples, what the loss was handed, the loss and a gradient. The
    signals that the rule was shown are noted in `made.shown`.
    """
    made.credit_rule = host_rule.HostRule(rule)
    made.loss_type, made.reached, made.passes = loss_type, [], 0
    for name, value in attributes.items():
        setattr(made, name, value)
    made.current_gradient_accumulation_steps = 1
    made.shown, shape = {}, type(made)._shape

    def noted(batch, signals):
        made.shown = dict(signals)
        shape(made, batch, signals)

    made._shape = noted
    made.model.train()
    made.model.zero_grad()
    batch = made._generate_and_score_completions([dict(row) for row in rows])
    loss = made.compute_loss(made.model, batch)
    loss.backward()
    (seen,) = made.reached
    head = made.model.get_output_embeddings().weight.grad.clone()
    return batch, seen, loss.detach(), head


def uniform_advantage(made, rows):
    return run_once(made, rows, cz.shaper("uniform"))[0]["advantages"][:, 0].clone()


@pytest.mark.parametrize("name", GIVABLE)
def test_the_token_advantages_at_trl_s_loss_are_the_zoo_s(folder, name):
    made, rows = shared(folder)
    rule = SHAPERS[name].factory()
    advantage = uniform_advantage(made, rows)
    batch, seen, _, _ = run_once(made, rows, rule)
    mask, truth = batch["completion_mask"].bool(), measured(made, batch)
    assert set(made.shown) == set(rule.needs)
    for one, values in made.shown.items():
        torch.testing.assert_close(values[mask], truth[one][mask], atol=1e-5, rtol=1e-5)
    expected = the_zoo_s(made, batch, advantage, torch.arange(len(rows)) // GROUP, rule, shown=made.shown)
    torch.testing.assert_close(seen["advantages"], expected, atol=1e-6, rtol=1e-6)
    assert advantage.unique().numel() > 2 and mask.sum(1).unique().numel() > 1, "samples and rewards differ"
    if name not in ("uniform", "fipo", "probability"):  # the two do nothing before the first update, to a policy unsure
        assert (seen["advantages"] - advantage[:, None] * mask).abs().max() > 1e-4


@pytest.mark.parametrize("loss_type", LOSSES)
@pytest.mark.parametrize("name", ["pepo", "high_entropy", "sharpen"])
def test_token_credit_reaches_the_gradient_under_every_allowed_loss(folder, name, loss_type):
    made, rows = shared(folder)
    rule = SHAPERS[name].factory()
    advantage = uniform_advantage(made, rows)
    _, _, _, plain = run_once(made, rows, cz.shaper("uniform"), loss_type)
    batch, seen, loss, gradient = run_once(made, rows, rule, loss_type)
    expected = the_zoo_s(made, batch, advantage, torch.arange(len(rows)) // GROUP, rule, shown=made.shown)
    torch.testing.assert_close(seen["advantages"], expected, atol=1e-6, rtol=1e-6)
    assert (gradient - plain).norm() > 1e-4 * plain.norm() > 0
    if loss_type in ("grpo", "bnpo", "dapo"):  # on policy the ratio is 1, so the loss is the mean of -A
        mask = batch["completion_mask"].float()
        mean = (expected * mask).sum() / mask.sum()
        if loss_type == "grpo":
            mean = ((expected * mask).sum(1) / mask.sum(1)).mean()
        torch.testing.assert_close(loss, -mean, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["pepo", "high_entropy"])
@pytest.mark.parametrize(
    "settings",
    [
        {"gradient_checkpointing": True},
        {"gradient_accumulation_steps": 4},
        {"num_iterations": 2},
        {"steps_per_generation": 2},
    ],
    ids=["one update", "4 micro-batches", "2 updates on the same samples", "samples of an older policy"],
)
def test_in_training_every_row_gets_what_the_zoo_makes_of_the_samples_when_they_are_drawn(tmp_path, name, settings):
    made = trainer(
        tmp_path,
        credit={"shaper": name},
        per_device_train_batch_size=GROUP,
        learning_rate=1e-2,
        max_steps=2,
        **settings,
    )
    generate, expected = made._generate_and_score_completions, []

    def noted(inputs):
        batch = generate(inputs)
        advantage = torch.tensor(list(made._logs["advantages"])[-len(batch["completion_ids"]) :])
        numbers = torch.arange(len(advantage))
        expected.append(the_zoo_s(made, batch, advantage, numbers // GROUP, made.credit_rule.shaper))
        batch["row"], batch["drawing"] = numbers, torch.full_like(numbers, len(expected) - 1)
        return batch

    made._generate_and_score_completions = noted
    made.train()
    assert len(made.reached) == 2 * settings.get("gradient_accumulation_steps", 1)
    for seen in made.reached:
        mine = torch.stack([expected[k][row] for k, row in zip(seen["drawing"], seen["row"], strict=True)])
        torch.testing.assert_close(seen["advantages"], mine, atol=1e-4, rtol=1e-4)
    assert any(one.abs().max() > 0 for one in expected)


@pytest.mark.parametrize(
    ("name", "settings", "theirs", "ours"),
    [
        ("pepo", {}, 2, 0),  # from the passes of the losses
        ("pepo", {"num_iterations": 2}, 3, 0),  # from TRL's pass of the old policy
        ("high_entropy", {"num_iterations": 2}, 3, 0),
        ("high_entropy", {}, 2, 2),  # one of our own for each drawing, which is told once
        ("position_only(uniform)", {}, 2, 0),  # looks at several responses and measures nothing
    ],
)
def test_a_pass_is_added_only_where_trl_makes_none_that_serves_and_then_it_is_told(
    tmp_path, caplog, name, settings, theirs, ours
):
    with caplog.at_level(logging.WARNING, logger="credit_zoo.hosts.trl"):
        made = trainer(tmp_path, credit={"shaper": name}, per_device_train_batch_size=GROUP, **settings)
        made.train()
    assert made.passes == theirs + ours
    told = [one for one in caplog.messages if "one more forward pass, without gradient" in one]
    assert len(told) == (1 if ours else 0)


def test_a_rule_of_the_update_stage_is_handed_the_log_ratio_of_each_update(folder, own_registrations):
    made, rows = shared(folder)

    @own_registrations.register("leaning", paper="none", needs=("log_ratio", "entropy"), stage="update")
    @dataclass(frozen=True)
    class Leaning:
        def __call__(self, x):
            return x.weighted(1 + x.signals.log_ratio + x.signals.entropy)

    plain = uniform_advantage(made, rows)
    made.args.gradient_accumulation_steps, iterations = 1, made.num_iterations
    made.num_iterations = 2  # TRL then makes its pass of the old policy
    try:
        batch, first, _, _ = run_once(made, rows, Leaning())
        mask, signals = batch["completion_mask"], measured(made, batch)
        with torch.no_grad():
            for parameter in made.model.get_output_embeddings().parameters():
                parameter.mul_(1.05)
        made.reached = []
        made.compute_loss(made.model, batch)
        now = measured(made, batch)["logp"] - signals["logp"]
    finally:
        made.num_iterations = iterations
        with torch.no_grad():
            for parameter in made.model.get_output_embeddings().parameters():
                parameter.div_(1.05)
    weight = 1 + signals["entropy"]
    torch.testing.assert_close(first["advantages"], plain[:, None] * weight * mask, atol=1e-4, rtol=1e-4)
    expected = plain[:, None] * (weight + now) * mask
    torch.testing.assert_close(made.reached[0]["advantages"], expected, atol=1e-4, rtol=1e-4)
    assert now[mask.bool()].abs().max() > 1e-2


@pytest.mark.parametrize("mode", ["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"])
def test_the_correction_for_vllm_multiplies_token_credit(folder, mode):
    """TRL's own pass serves the correction and the rule; samples and their log-probabilities are handed in."""
    made, rows = shared(folder)
    advantage = uniform_advantage(made, rows)
    drawn, made.drawn = made.drawn, None
    given = list(drawn)
    given[-4] = [[-1.0] * len(ids) for ids in drawn[1]]
    made.drawn = tuple(given)
    try:
        rule = cz.shaper("pepo")
        batch, seen, _, _ = run_once(
            made, rows, rule, use_vllm=True, vllm_importance_sampling_correction=True,
            vllm_importance_sampling_mode=mode, vllm_importance_sampling_clip_max=3.0,
        )  # fmt: skip
    finally:
        made.drawn, made.use_vllm = drawn, False
    expected = the_zoo_s(made, batch, advantage, torch.arange(len(rows)) // GROUP, rule, shown=made.shown)
    torch.testing.assert_close(seen["advantages"], expected, atol=1e-6, rtol=1e-6)
    assert "importance_sampling_ratio" in seen and made.passes == 2


@pytest.mark.parametrize("name", ["pepo", "high_entropy"])
def test_what_a_tool_wrote_into_a_response_is_not_shown_and_gets_no_credit(folder, name):
    made, rows = shared(folder)
    advantage, drawn, rule = uniform_advantage(made, rows), made.drawn, cz.shaper(name)
    given = list(drawn)
    given[2] = [[int(place % 3 != 1) for place in range(len(ids))] for ids in drawn[1]]
    made.drawn = tuple(given)
    try:
        batch, seen, _, _ = run_once(made, rows, rule)
    finally:
        made.drawn = drawn
    mask = batch["completion_mask"] * batch["tool_mask"]
    sampled = {**batch, "completion_mask": mask}
    expected = the_zoo_s(made, sampled, advantage, torch.arange(len(rows)) // GROUP, rule, shown=made.shown)
    torch.testing.assert_close(seen["advantages"], expected, atol=1e-6, rtol=1e-6)
    assert (mask.diff(dim=1) > 0).any() and not seen["advantages"][mask == 0].any()


def test_the_named_reward_is_what_a_rule_knows_as_correct(tmp_path, own_registrations):
    seen = []

    @own_registrations.register("looking", paper="none")
    @dataclass(frozen=True)
    class Looking:
        def __call__(self, x):
            seen.append((x.correct.clone(), x.advantage.clone(), x.group.clone()))
            return x.weighted(torch.ones_like(x.mask).float())

    def right(completions, **_):
        return [float(k % 2) for k in range(len(completions))]

    for correct in ("right", None):
        made = trainer(
            tmp_path, reward=[spread_reward, right], credit={"shaper": Looking(), "correct": correct}, max_steps=1
        )
        made.train()
    (named, _, group), (guessed, advantage, _) = seen
    assert named.tolist() == [0.0, 1.0] * GROUP and torch.equal(guessed, (advantage > 0).float())
    assert group.tolist() == [0] * GROUP + [1] * GROUP
    with pytest.raises(cz.UsageError, match=r"no reward function named 'rihgt'\. Did you mean 'right'"):
        trainer(tmp_path, reward=[spread_reward, right], credit={"correct": "rihgt"})


def test_the_schedule_blends_from_uniform_and_the_spread_of_weights_is_in_trl_s_log(tmp_path):
    made = trainer(tmp_path, credit={"shaper": "entropy", "shaper_schedule": "linear"}, max_steps=3)
    made.train()
    spread = [entry["credit/weight_std"] for entry in made.state.log_history if "credit/weight_std" in entry]
    assert spread[0] == 0 < spread[1] < spread[2]
    names = {"weight_std", "weight_ess", "weight_p05", "weight_p50", "weight_p95"}
    assert names <= {name.removeprefix("credit/") for name in made.state.log_history[0]}


def test_a_model_of_text_takes_rules_that_need_no_picture(tmp_path):
    made = trainer(tmp_path, credit={"shaper": "entropy"}, **text_only())
    made.train()
    assert any(entry.get("credit/weight_std", 0) > 0 for entry in made.state.log_history)
    with pytest.raises(cz.UsageError, match=r"visual similarity needs a model that reads images; .* no image_token_id"):
        trainer(tmp_path, credit={"shaper": "pepo"}, **text_only())


def test_measuring_on_other_questions_goes_the_same_way(tmp_path):
    made = trainer(tmp_path, credit={"shaper": "pepo"}, per_device_eval_batch_size=GROUP)
    found = made.evaluate(made.train_dataset.select([0]))
    assert "eval_credit/weight_std" in found and made.reached[0]["advantages"].ndim == 2


def test_adapters_are_trained_with_their_reference_by_switching_them_off(tmp_path):
    """TRL's first pass is then of the model without its adapters: it must not be taken for the policy's."""
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(
        copy.deepcopy(parts().model), peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    made = trainer(tmp_path, credit={"shaper": "pepo"}, model=model, beta=0.04, max_steps=1)
    made.train()
    (seen,) = made.reached
    fresh = measured(made, {**seen, "advantages": None})  # after the update: near, not equal
    assert fresh["entropy"].shape == seen["advantages"].shape and seen["advantages"].ndim == 2


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loss_type": "luspo"}, "loss_type='luspo' weighs whole responses by their length"),
        ({"importance_sampling_level": "sequence"}, "one ratio, so that only the sum of their advantages"),
        ({"importance_sampling_level": "sequence_token"}, "'sequence_token' has not been tested with token advantages"),
        ({"use_liger_kernel": True}, "use_liger_kernel=True is not supported"),
    ],
)
@pytest.mark.parametrize("shaper", ["uniform", "pepo"])
def test_settings_that_erase_token_credit_are_refused_before_a_model_is_loaded(tmp_path, settings, said, shaper):
    with pytest.raises(cz.UsageError, match=said):
        Shaped(GRPOTrainer)("no such model", spread_reward, config(tmp_path, **settings), shaper=shaper)


def test_settings_that_go_by_the_sign_of_a_response_are_refused_for_rules_that_turn_signs(tmp_path, own_registrations):
    @own_registrations.register("turning", paper="none")
    @dataclass(frozen=True)
    class Turning:
        def __call__(self, x):
            return x.weighted(-torch.ones_like(x.mask).float())

    for settings, said in (({"off_policy_mask_threshold": 0.1}, "off_policy_mask"), ({"loss_type": "vespo"}, "vespo")):
        with pytest.raises(cz.UsageError, match=said):
            Shaped(GRPOTrainer)("no such model", spread_reward, config(tmp_path, **settings), shaper=Turning())


@pytest.mark.parametrize("name", OTHERS)
def test_a_rule_whose_signals_trl_cannot_give_is_refused_with_their_names(tmp_path, name):
    missing = [one for one in SHAPERS[name].facts.needs if one not in GIVEN]
    with pytest.raises(cz.UsageError, match=f"needs the signals {', '.join(missing)}.*which TRL cannot give"):
        Shaped(GRPOTrainer)("no such model", spread_reward, config(tmp_path), shaper=name)


def test_names_and_classes_that_do_not_fit_are_sentences(tmp_path):
    with pytest.raises(cz.UsageError, match="Did you mean 'pepo'"):
        Shaped(GRPOTrainer)("no such model", spread_reward, config(tmp_path), shaper="peppo")
    with pytest.raises(cz.UsageError, match="shaper_schedule must be none or linear"):
        Shaped(GRPOTrainer)("no such model", spread_reward, config(tmp_path), shaper_schedule="cosine")
    with pytest.raises(cz.UsageError, match=r"trl\.GRPOTrainer or a class derived from it"):
        Shaped(dict)


def test_trainers_of_trl_with_a_loss_of_their_own_are_refused_and_those_of_users_are_not(monkeypatch):
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    from trl.experimental.gmpo import GMPOTrainer

    for kind in (GMPOTrainer, type("Mine", (GMPOTrainer,), {})):
        with pytest.raises(cz.UsageError, match="GMPOTrainer of TRL has its own _compute_loss"):
            Shaped(kind)
    assert issubclass(Shaped(Watched), Watched)


@pytest.mark.parametrize("version", ["0.29.1", "1.17.0", "2.0.0.dev0"])
def test_versions_that_are_not_supported_are_refused_with_those_that_are(monkeypatch, version):
    monkeypatch.setattr(host_rule.metadata, "version", lambda package: version)
    with pytest.raises(cz.UsageError, match=rf"trl {version} is not supported.*from 1\.\d+ to below 1\.17"):
        Shaped(GRPOTrainer)


def test_nothing_of_trl_is_replaced():
    before = dict(vars(GRPOTrainer))
    made = Shaped(GRPOTrainer)
    assert dict(vars(GRPOTrainer)) == before and issubclass(made, GRPOTrainer)
    assert made is Shaped(GRPOTrainer) and Shaped(made) is made
