"""Inside verl, in an environment of its own (`make test-hosts`): its own batches, advantages, losses and registry."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("verl")
pytest.importorskip("transfer_queue")

from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, get_trainer_cls

import credit_zoo as cz
import credit_zoo.verl  # as VERL_USE_EXTERNAL_MODULES=credit_zoo.verl does
from credit_zoo.hosts import rule as host_rule
from credit_zoo.hosts.verl import FIELDS, KEEPING, Shaping, rule_from, shape_fields
from credit_zoo.registry import SHAPERS

GIVABLE = [name for name in (*SHAPERS, "position_only(entropy)") if set(SHAPERS[name].facts.needs) <= set(FIELDS)]
OTHERS = [name for name in SHAPERS if name not in GIVABLE]
LENGTHS = (5, 3, 6, 1, 4, 6)


def batch(seed=0):
    """A batch as verl holds it: padded on the right, a gap where a tool spoke, rewards on the last token."""
    generator = torch.Generator().manual_seed(seed)
    width = max(LENGTHS)
    mask = (torch.arange(width) < torch.tensor(LENGTHS)[:, None]).long()
    mask[2, 2] = 0
    rewards = torch.zeros(len(LENGTHS), width)
    rewards[torch.arange(len(LENGTHS)), torch.tensor(LENGTHS) - 1] = torch.tensor([1.0, 0.0, 0.3, 0.9, 0.2, 0.2])
    uid = np.array(["b", "b", "a", "a", "c", "c"], dtype=object)
    advantages, returns = core_algos.compute_grpo_outcome_advantage(
        token_level_rewards=rewards, response_mask=mask.float(), index=uid
    )
    tensors = {
        "responses": torch.randint(0, 50, mask.shape, generator=generator),
        "response_mask": mask,
        "old_log_probs": -torch.rand(mask.shape, generator=generator) - 0.1,
        "entropy": torch.rand(mask.shape, generator=generator),
        "advantages": advantages,
        "returns": returns,
    }
    return DataProto.from_dict(tensors=tensors, non_tensors={"uid": uid})


def the_zoo_s(data, name):
    mask = data.batch["response_mask"].bool()
    advantage = torch.stack([row[keep][0] for row, keep in zip(data.batch["advantages"], mask, strict=True)])
    numbers = {"a": 0, "b": 1, "c": 2}
    group = torch.tensor([numbers[one] for one in data.non_tensor_batch["uid"]])
    signals = {one: data.batch[FIELDS[one]] for one in SHAPERS[name].facts.needs}
    return cz.shape(
        name, advantage=advantage, mask=mask, group=group, ids=data.batch["responses"], progress=0.5, **signals
    )


def shaped(data, name, progress=0.5):
    return shape_fields(data.batch, data.non_tensor_batch["uid"], host_rule.HostRule(SHAPERS[name].factory()), progress)


@pytest.mark.parametrize("name", GIVABLE)
def test_token_advantages_of_a_real_batch_are_the_zoo_s(name):
    data = batch()
    found, _ = shaped(data, name)
    torch.testing.assert_close(found, the_zoo_s(data, name), atol=1e-6, rtol=1e-6)
    if name == "uniform":
        torch.testing.assert_close(found, data.batch["advantages"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("loss_mode", KEEPING)
def test_token_credit_reaches_the_gradient_of_every_allowed_loss(loss_mode):
    from verl.workers.config import ActorConfig

    data = batch()
    config = ActorConfig(strategy="fsdp", rollout_n=2, ppo_micro_batch_size_per_gpu=2)
    object.__setattr__(config.policy_loss, "dro_beta", 0.1)
    gradients = []
    for name in ("uniform", "entropy"):
        logp = data.batch["old_log_probs"].clone().requires_grad_()
        loss, *_ = core_algos.get_policy_loss_fn(loss_mode)(
            old_log_prob=data.batch["old_log_probs"], log_prob=logp, advantages=shaped(data, name)[0],
            response_mask=data.batch["response_mask"].float(), loss_agg_mode="token-mean", config=config,
        )  # fmt: skip
        loss.backward()
        gradients.append(logp.grad)
    assert (gradients[0] - gradients[1]).abs().max() > 1e-3 * gradients[0].abs().max() > 0


def configuration(shaper="entropy", loss_mode="vanilla", **more):
    return OmegaConf.create(
        {
            "credit_zoo": {"shaper": shaper, **more},
            "actor_rollout_ref": {"actor": {"policy_loss": {"loss_mode": loss_mode}}},
        }
    )


class Queue:
    """TransferQueue's store, in this process."""

    def __init__(self, data):
        nested = [torch.nested.as_nested_tensor([row[:n] for row, n in zip(values, LENGTHS, strict=True)],
                                                layout=torch.jagged) for values in data.batch.values()]  # fmt: skip
        self.fields = TensorDict(dict(zip(data.batch.keys(), nested, strict=True)), batch_size=len(LENGTHS))
        self.fields["uid"] = data.non_tensor_batch["uid"].tolist()

    def kv_batch_get(self, keys, partition_id, select_fields):
        return self.fields.select(*select_fields)

    def kv_batch_put(self, keys, partition_id, fields):
        self.fields.update(fields)
        return SimpleNamespace(keys=keys, partition_id=partition_id)


class Alone:
    """What of verl's trainer the hook stands on."""

    def __init__(self, config):
        self.config, self.trainer_mode = config, "credit_zoo"
        self.global_steps, self.total_training_steps = 1, 2

    def _compute_advantage(self, batch, metrics):
        return batch


class Batch(SimpleNamespace):
    def __len__(self):
        return len(LENGTHS)


@pytest.mark.parametrize("name", ["entropy", "high_entropy"])
def test_the_trainer_s_hook_writes_token_advantages_back_in_verl_s_layout(monkeypatch, name):
    import transfer_queue

    data = batch()
    queue, metrics = Queue(data), {}
    monkeypatch.setattr(transfer_queue, "kv_batch_get", queue.kv_batch_get)
    monkeypatch.setattr(transfer_queue, "kv_batch_put", queue.kv_batch_put)
    made = type("Made", (Shaping, Alone), {})(configuration(name))
    made._compute_advantage(Batch(keys=list("abcdef"), partition_id="train"), metrics)
    back = queue.fields["advantages"]
    assert back.is_nested and back.offsets().diff().tolist() == list(LENGTHS)
    expected = the_zoo_s(data, name)
    torch.testing.assert_close(back.to_padded_tensor(0.0), expected, atol=1e-6, rtol=1e-6)
    assert metrics["credit/weight_std"] > 0 and made.trainer_mode == "sync"


def test_the_trainer_is_registered_beside_verl_s_own():
    from verl.trainer.ppo.v1 import PPOTrainerSync

    made = get_trainer_cls("credit_zoo")
    assert issubclass(made, PPOTrainerSync) and made is credit_zoo.verl.ShapedTrainer
    assert TRAINER_REGISTRY["sync"] is PPOTrainerSync
    for hook in ("_compute_advantage", "__init__"):
        assert hook in vars(Shaping) and hasattr(PPOTrainerSync, hook)


def test_a_rule_with_settings_and_a_schedule_come_from_the_configuration():
    found = rule_from(configuration("high_entropy rho=0.5 denominator=kept", schedule="linear"))
    assert (found.shaper.rho, found.shaper.denominator, found.schedule) == (0.5, "kept", "linear")
    assert rule_from(configuration("polarity_entropy positive_high=false")).shaper.positive_high is False


@pytest.mark.parametrize("name", OTHERS)
def test_a_rule_whose_signals_verl_cannot_give_is_refused_with_their_names(name):
    missing = [one for one in SHAPERS[name].facts.needs if one not in FIELDS]
    with pytest.raises(cz.UsageError, match=f"needs the signals {', '.join(missing)}.*which verl cannot give"):
        rule_from(configuration(name))


def test_what_does_not_fit_is_a_sentence():
    for config, said in [
        (configuration(""), "name the rule"),
        (configuration("entrpy"), "Did you mean 'entropy'"),
        (configuration("entropy temperature=warm"), "entropy.temperature must be a number, got 'warm'"),
        (configuration("entropy heat=2"), "no setting of 'entropy' named 'heat'"),
        (configuration("entropy temperature"), "NAME=VALUE"),
        (configuration(loss_mode="geo_mean"), "averages the advantages of a response's tokens first"),
        (configuration(loss_mode="mine"), "has not been tested"),
    ]:
        with pytest.raises(cz.UsageError, match=said):
            rule_from(config)
    without = batch()
    without.batch.pop("entropy")
    with pytest.raises(cz.UsageError, match=r"needs verl's entropy, .*bypass_mode"):
        shaped(without, "entropy")
    uneven = batch()
    uneven.batch["advantages"][0, 0] += 1
    with pytest.raises(cz.UsageError, match="differ within a response already"):
        shaped(uneven, "entropy")


def test_a_version_that_is_not_supported_is_refused(monkeypatch):
    from credit_zoo.hosts import register_verl_trainer

    monkeypatch.setattr(host_rule.metadata, "version", lambda package: "0.8.0")
    with pytest.raises(cz.UsageError, match=r"verl 0\.8\.0 is not supported.*from 0\.9 to below 0\.10"):
        register_verl_trainer()
