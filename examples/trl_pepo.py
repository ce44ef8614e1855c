"""TRL's GRPO with PEPO's token credit: a tiny Qwen2.5-VL learns Geometry3K's twin on a CPU, in two minutes.

python examples/trl_pepo.py [STEPS]
"""

import sys

from trl import GRPOConfig, GRPOTrainer

from credit_zoo.trl import Shaped, laptop

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 30
model, processor, questions, reward = laptop("geometry3k", count=8 * steps)
config = GRPOConfig(
    "runs/trl_pepo", max_steps=steps, learning_rate=1e-4, lr_scheduler_type="constant", num_generations=8,
    per_device_train_batch_size=64, max_completion_length=56, gradient_checkpointing=False, use_cpu=True, bf16=False,
    logging_steps=1, report_to="none", save_strategy="no",
)  # fmt: skip
trainer = Shaped(GRPOTrainer)(
    model, reward, config, train_dataset=questions, processing_class=processor, shaper="pepo", shaper_schedule="linear"
)
trainer.train()
rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
fifth = max(len(rewards) // 5, 1)
print(f"reward {sum(rewards[:fifth]) / fifth:.3f} -> {sum(rewards[-fifth:]) / fifth:.3f} in {len(rewards)} steps")
