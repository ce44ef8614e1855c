"""One process of two that train with TRL: what the rule's token advantages were, and what they should be."""

import sys

import torch
from trl_runs import GROUP, Watched, spread_reward, trainer

from credit_zoo.registry import SHAPERS
from credit_zoo.trl import Shaped


class Apart(Shaped(Watched)):
    """Notes what the whole step looked like, as the rule was shown it."""

    def _shape(self, batch, signals):
        accelerator, mask = self.accelerator, batch["completion_mask"]
        pad = {"entropy": signals["entropy"], "mask": mask, "ids": batch["completion_ids"]}
        self.whole = {k: accelerator.gather(accelerator.pad_across_processes(v, dim=1)) for k, v in pad.items()}
        self.whole["advantage"] = accelerator.gather(batch["advantages"])
        self.width = mask.shape[1]
        super()._shape(batch, signals)
        self.mine = batch["advantages"].clone()


def main(folder, name):
    import credit_zoo as cz

    made = trainer(
        folder, Apart, reward=spread_reward, credit={"shaper": name}, max_steps=1,
        per_device_train_batch_size=GROUP // 2 * 2, max_completion_length=40,
    )  # fmt: skip
    made.train()
    whole = made.whole
    count = len(whole["advantage"])
    signals = {one: whole["entropy"] for one in SHAPERS[name].facts.needs}
    expected = cz.shape(
        name, advantage=whole["advantage"], mask=whole["mask"], ids=whole["ids"],
        group=torch.arange(count) // GROUP, progress=0.0, **signals,
    )  # fmt: skip
    rank, rows = made.accelerator.process_index, len(made.mine)
    assert count == 2 * rows, "both processes' rows were seen together"
    torch.testing.assert_close(made.mine, expected[rank * rows : (rank + 1) * rows, : made.width], atol=1e-6, rtol=1e-6)
    assert whole["advantage"].unique().numel() > 1
    print(f"process {rank}: {rows} rows of {count} agree")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
