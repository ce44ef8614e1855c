"""Inside ms-swift, in an environment of its own (`make test-hosts`): its own pass, masks and advantages."""

import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("swift")

from PIL import Image
from swift.rl_core.data import GRPOBatch, GRPOSample
from swift.rlhf_trainers import GRPOTrainer
from swift.rlhf_trainers.utils import build_completion_mask_and_seq_lengths
from swift.trainers import TrainerFactory

import credit_zoo as cz
import credit_zoo.ms_swift  # as --external_plugins does
from credit_zoo.hosts import rule as host_rule
from credit_zoo.hosts.ms_swift import LOSSES, refuse_erasing_options, rule_from
from credit_zoo.policy import HEARD, ModelConfig, Policy
from credit_zoo.registry import SHAPERS

GIVABLE = [name for name in (*SHAPERS, "position_only(entropy)") if set(SHAPERS[name].facts.needs) <= set(HEARD)]
OTHERS = [name for name in SHAPERS if name not in GIVABLE]
ADVANTAGES = torch.tensor([1.0, -1.0, 0.5, -0.5])
PROMPTS = ["b", "b", "a", "a"]


@pytest.fixture(scope="module")
def policy():
    return Policy.load(ModelConfig()).eval()


def micro_batch(policy, texts, seed):
    """Two rows as ms-swift's collator lays them: prompt and response, then padding; labels of the response alone."""
    encoded = policy.encoder.prompts([(Image.new("RGB", (84, 84), (seed * 40, 90, 160)), text) for text in texts])
    generator = torch.Generator().manual_seed(seed)
    rows, labels = [], []
    for ids, mask in zip(encoded.ids, encoded.mask, strict=True):
        prompt = ids[mask]
        response = torch.randint(5, 300, (int(torch.randint(3, 9, (1,), generator=generator)),), generator=generator)
        rows.append(torch.cat([prompt, response]))
        labels.append(torch.cat([torch.full_like(prompt, -100), response]))
        labels[-1][len(prompt) + 1] = -100  # a token that a tool put there

    def padded(values, fill):
        return torch.nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=fill)

    ids, target = padded(rows, policy.encoder.pad_token), padded(labels, -100)
    keep = int((target.shape[-1] - target.ne(-100).int().argmax(-1)).max())
    mask, lengths, _ = build_completion_mask_and_seq_lengths(target, len(rows), logits_to_keep=keep)
    inputs = {
        "input_ids": ids,
        "attention_mask": padded([torch.ones_like(row) for row in rows], 0),
        "mm_token_type_ids": (ids == policy.encoder.image_token).int(),
        **{name: torch.cat([one[name] for one in encoded.vision]) for name in encoded.vision[0]},
    }
    batch = GRPOBatch(mask, torch.zeros(len(rows), dtype=torch.bool), lengths, logits_to_keep=keep)
    return {"model_inputs": inputs, "grpo_batch": batch}


def one_process():
    return SimpleNamespace(
        device=torch.device("cpu"), num_processes=1, process_index=0, is_main_process=True,
        gather=lambda x: x, pad_across_processes=lambda x, dim: x,
    )  # fmt: skip


def trainer(policy, name):
    """ms-swift's trainer with ours in front, without what opens files and engines."""
    made = object.__new__(credit_zoo.ms_swift.ShapedGRPOTrainer)
    vars(made).update(
        credit_rule=host_rule.HostRule.of(name, "none", "ms-swift", HEARD),
        model=policy.model, accelerator=one_process(), temperature=0.9, beta=0.0,
        template=SimpleNamespace(padding_free=False, sequence_parallel_size=1),
        args=SimpleNamespace(per_device_train_batch_size=2, per_device_eval_batch_size=2, steps_per_generation=2, report_to=[]),
        dynamic_num_samples=False, model_kwarg_keys=("logits_to_keep", "use_cache"), _has_teacher=False,
        use_teacher_api=False, advantage_reweight=None, sdar_loss_coef=0.0, teacher_kl_coef=0.0,
        _rewards_per_func=None, state=SimpleNamespace(global_step=1, max_steps=2),
        _logs=defaultdict(list), _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
        _compute_advantages=lambda *_: ADVANTAGES.clone(),
    )  # fmt: skip
    return made


def run(policy, name, monkeypatch):
    """What ms-swift does with a step's samples from its pass of the old policy on."""
    made = trainer(policy, name)
    policy.model.train()
    batches = [
        micro_batch(policy, ["find x", "find the area of the side"], 1),
        micro_batch(policy, ["the side"] * 2, 2),
    ]
    made.credit_signals = {}
    with torch.no_grad():
        for one in batches:
            inputs, batch = dict(one["model_inputs"]), one["grpo_batch"]
            batch.old_per_token_logps = made._get_per_token_logps_and_entropies(policy.model, inputs, batch)[0]
    samples = [GRPOSample(messages=[], prompt_id=one) for one in PROMPTS]
    monkeypatch.setattr("swift.rlhf_trainers.grpo_trainer.get_even_process_data", lambda _, values: values)
    made._postprocess_batch(samples, batches)
    return made, batches


def the_zoo_s(policy, batches, name):
    """From stored states and whole logits, all rows of the step in one call."""
    width = max(one["grpo_batch"].completion_mask.shape[1] for one in batches)
    parts = []
    for one in batches:
        inputs, mask = one["model_inputs"], one["grpo_batch"].completion_mask
        keep, ids = mask.shape[1], inputs["input_ids"]
        with torch.no_grad():
            out = policy.model(**inputs, output_hidden_states=True)
        found = torch.distributions.Categorical(logits=out.logits[:, -keep - 1 : -1].float() / 0.9)
        unit = [torch.nn.functional.normalize(states, dim=-1) for states in out.hidden_states]
        image = ids == policy.encoder.image_token
        layers = [torch.stack([(u[-keep:] @ u[i].T).mean(-1) for u, i in zip(one, image, strict=True)]) for one in unit]
        signals = {
            "logp": found.log_prob(ids[:, -keep:]), "entropy": found.entropy(),
            "collision": found.probs.square().sum(-1),
            "visual_similarity": torch.stack(layers[1:]).mean(0),
            "visual_similarity_release": torch.stack(layers).mean(0), "visual_similarity_last": layers[-1],
            "mask": mask, "ids": ids[:, -keep:],
        }  # fmt: skip
        parts.append({k: torch.nn.functional.pad(v, (0, width - keep)) for k, v in signals.items()})
    whole = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    signals = {one: whole[one] for one in SHAPERS[name].facts.needs}
    return cz.shape(
        name, advantage=ADVANTAGES, mask=whole["mask"], group=torch.tensor([1, 1, 0, 0]), ids=whole["ids"],
        progress=0.5, **signals,
    )  # fmt: skip


@pytest.mark.parametrize("name", GIVABLE)
def test_token_advantages_in_ms_swift_s_batches_are_the_zoo_s(policy, name, monkeypatch):
    made, batches = run(policy, name, monkeypatch)
    expected = the_zoo_s(policy, batches, name).split([2, 2])
    for one, mine in zip(batches, expected, strict=True):
        batch = one["grpo_batch"]
        mask = batch.completion_mask
        mine = mine[:, : mask.shape[1]]
        torch.testing.assert_close(batch.advantages, mine, atol=1e-5, rtol=1e-4)
        assert batch.advantages.shape == batch.old_per_token_logps.shape == mask.shape
    first = batches[0]["grpo_batch"].completion_mask
    assert not first[:, 0].all() and (first.int().diff(dim=1) > 0).any(), "no prefix: the prompt's end stands before"
    spread = made._metrics["train"]["credit/weight_std"][0]
    if name in ("gtpo", "probability"):  # one right and one wrong answer have none beside them; the policy is unsure
        assert spread >= 0
    else:
        assert (spread == 0) == (name == "uniform")


def test_ms_swift_s_own_pass_is_not_changed(policy):
    one = micro_batch(policy, ["find x", "the side"], 3)
    made = trainer(policy, "pepo")
    found = []
    for signals in (None, {}):
        made.credit_signals = signals
        with torch.no_grad():
            found.append(
                made._get_per_token_logps_and_entropies(policy.model, dict(one["model_inputs"]), one["grpo_batch"])[0]
            )
    assert torch.equal(*found)


def test_the_plugin_puts_the_trainer_where_the_factory_looks():
    assert issubclass(credit_zoo.ms_swift.ShapedGRPOTrainer, GRPOTrainer)
    assert TrainerFactory.get_trainer_cls(SimpleNamespace(rlhf_type="grpo")) is credit_zoo.ms_swift.ShapedGRPOTrainer


def test_loading_the_file_as_a_plugin_leaves_the_names_of_other_packages_alone():
    """ms-swift puts the folder of a plugin in front of all others; ours holds a `trl.py`."""
    from swift.utils import import_external_file

    file = Path(credit_zoo.ms_swift.__file__)
    made = import_external_file(str(file)).ShapedGRPOTrainer
    assert issubclass(made, GRPOTrainer) and str(file.parent) not in sys.path
    found = TrainerFactory.get_trainer_cls(SimpleNamespace(rlhf_type="grpo"))
    assert found is credit_zoo.ms_swift.ShapedGRPOTrainer


def arguments(**changes):
    chosen = {
        "loss_type": "grpo", "importance_sampling_level": "token", "use_liger_kernel": False,
        "advantage_reweight": None, "off_policy_sequence_mask_delta": None, **changes,
    }  # fmt: skip
    return SimpleNamespace(**chosen)


@pytest.mark.parametrize(
    ("changes", "template", "said"),
    [
        ({"loss_type": "real"}, {}, "loss_type=real"),
        ({"importance_sampling_level": "sequence"}, {}, "choose token or sequence_token"),
        ({"use_liger_kernel": True}, {}, "summed or averaged first"),
        ({"advantage_reweight": "rlsd"}, {}, "weighs tokens itself"),
        ({"off_policy_sequence_mask_delta": 0.1}, {}, "may turn"),
        ({}, {"padding_free": True}, "packed into one"),
        ({}, {"sequence_parallel_size": 2}, "split over processes"),
    ],
)
def test_settings_that_erase_credit_or_hide_the_rows_are_refused(changes, template, said):
    rule = host_rule.HostRule(SHAPERS["sharpen"].factory())
    shown = SimpleNamespace(**{"padding_free": False, "sequence_parallel_size": 1, **template})
    with pytest.raises(cz.UsageError, match=said):
        refuse_erasing_options(arguments(**changes), shown, rule)
    for loss_type in LOSSES:
        plain = SimpleNamespace(padding_free=False, sequence_parallel_size=1)
        refuse_erasing_options(arguments(loss_type=loss_type), plain, rule)


@pytest.mark.parametrize("name", OTHERS)
def test_a_rule_whose_signals_ms_swift_cannot_give_is_refused_with_their_names(name):
    missing = [one for one in SHAPERS[name].facts.needs if one not in HEARD]
    with pytest.raises(cz.UsageError, match=f"needs the signals {', '.join(missing)}.*which ms-swift cannot give"):
        rule_from({"CREDIT_ZOO_SHAPER": name})


def test_the_environment_names_the_rule():
    found = rule_from({"CREDIT_ZOO_SHAPER": "pepo alpha=0.1", "CREDIT_ZOO_SCHEDULE": "linear"})
    assert (found.shaper.alpha, found.schedule) == (0.1, "linear")
    with pytest.raises(cz.UsageError, match="CREDIT_ZOO_SHAPER=pepo"):
        rule_from({})
