"""What PEPO's credit costs inside TRL: training steps of TRL alone and of TRL with the rule, in turns, on one batch.

python examples/trl_overhead.py [ROUNDS]
"""

import sys

from trl import GRPOConfig, GRPOTrainer

from credit_zoo.speed.meter import allocated, in_turns, ratios
from credit_zoo.trl import Shaped, laptop

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
model, processor, questions, reward = laptop("geometry3k", count=8)
config = GRPOConfig(
    "runs/trl_overhead", max_steps=100, learning_rate=1e-4, num_generations=8, per_device_train_batch_size=16,
    max_completion_length=56, gradient_checkpointing=False, use_cpu=True, bf16=False, report_to="none",
    save_strategy="no",
)  # fmt: skip
common = (model, reward, config)
more = {"train_dataset": questions, "processing_class": processor}
trainers = {
    "TRL": GRPOTrainer(*common, **more),
    "TRL with pepo": Shaped(GRPOTrainer)(*common, **more, shaper="pepo"),
}
rows = [questions[number] for number in (0, 1) for _ in range(8)]
model.train()
batches = {name: trainer._generate_and_score_completions(rows) for name, trainer in trainers.items()}
batches["TRL with pepo"] |= batches["TRL"]  # the same samples


def step(name: str) -> None:
    """Forward, loss and backward of one trainer on the batch."""
    trainers[name].current_gradient_accumulation_steps = 1
    trainers[name].compute_loss(model, batches[name]).backward()
    model.zero_grad()


found = in_turns({name: lambda name=name: step(name) for name in trainers}, rounds)
ratio = ratios(found, "TRL with pepo", "TRL")
peaks = {name: allocated(lambda name=name: step(name)).peak / 2**20 for name in trainers}
print(f"training step: {ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] times TRL's, {rounds} rounds in turns")
print("peak memory: " + ", ".join(f"{name} {peak:.1f} MiB" for name, peak in peaks.items()))
