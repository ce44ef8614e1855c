"""One process of some that train with TRL under every loss: uniform beside TRL alone, and what rules hand to the loss."""

import sys

import torch
from trl_runs import GROUP, Watched, losses_of, spread_reward, trainer, weights_of

import credit_zoo as cz
from credit_zoo.hosts.trl_options import LOSSES
from credit_zoo.registry import SHAPERS
from credit_zoo.trl import Shaped

ACCUMULATED = (1, 4)
# Of the loss's own pass, and of a pass over all samples of a step.
RULES = ("pepo", "high_entropy")


class Noting(Shaped(Watched)):
    """Holds what a rule made of what it was shown to the zoo's own, and what reaches the loss to what it made."""

    made = ()

    def _shape(self, batch, signals):
        if "row" not in batch:
            batch["row"] = torch.arange(len(batch["advantages"]))
        name = SHAPERS.of(self.credit_rule.shaper).name
        shown = {"mask": batch["completion_mask"], "ids": batch["completion_ids"], **signals}
        whole = {
            key: self.accelerator.gather(self.accelerator.pad_across_processes(values.contiguous(), dim=1))
            for key, values in shown.items()
        }
        advantage = self.accelerator.gather(batch["advantages"])
        group = self.accelerator.gather(batch["credit_zoo_group"])
        expected = cz.shape(name, advantage=advantage, group=group, progress=0.0, **whole)
        rows, rank = len(batch["advantages"]), self.accelerator.process_index
        super()._shape(batch, signals)
        self.made = batch["advantages"]
        own = expected[rank * rows : (rank + 1) * rows, : self.made.shape[1]]
        torch.testing.assert_close(self.made, own, atol=1e-6, rtol=1e-6)

    def _compute_loss(self, model, inputs):
        loss = super()._compute_loss(model, inputs)
        seen = self.reached[-1]
        assert torch.equal(seen["advantages"], self.made[seen["row"]][:, : seen["advantages"].shape[1]])
        return loss


def trained(folder, kind, credit=None, **settings):
    made = trainer(folder, kind, spread_reward, credit=credit, max_completion_length=6, max_steps=1, **settings)
    made.train()
    return losses_of(made), weights_of(made)


def main(folder):
    count = 0
    for loss_type in LOSSES:
        for accumulated in ACCUMULATED:
            settings = {
                "loss_type": loss_type, "gradient_accumulation_steps": accumulated,
                "per_device_train_batch_size": GROUP,
            }  # fmt: skip
            losses, weights = trained(folder, Watched, **settings)
            theirs, others = trained(folder, Shaped(Watched), **settings)
            assert losses == theirs and all(torch.equal(weights[name], others[name]) for name in weights)
            for name in RULES:
                trained(folder, Noting, {"shaper": name}, **settings)
            count += 1
    print(f"{count} settings agree")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
