"""TRL trainers for tests: the shipped small model on a few questions of a twin, watched at the loss."""

import copy
from functools import cache

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from credit_zoo.hosts.laptop import Laptop, laptop
from credit_zoo.trl import Shaped

GROUP, TOKENS = 4, 10


@cache
def parts() -> Laptop:
    return laptop("geometry3k", count=8)


def spread_reward(completions, **_):
    """Rewards that differ within every group, whatever was sampled."""
    return [k * 7 % 11 / 10 for k in range(len(completions))]


class Watched(GRPOTrainer):
    """Notes the advantages that TRL's loss multiplied, and whose they were."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.reached = []
        self.passes = 0

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        self.passes += 1
        return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    def _compute_loss(self, model, inputs):
        loss = super()._compute_loss(model, inputs)
        self.reached.append(dict(inputs))
        return loss


def config(folder, **settings):
    chosen = {
        "max_steps": 2,
        "learning_rate": 1e-3,
        "num_generations": GROUP,
        "per_device_train_batch_size": 2 * GROUP,
        "gradient_accumulation_steps": 1,
        "max_completion_length": TOKENS,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 1,
        **settings,
    }
    return GRPOConfig(str(folder), **chosen)


def trainer(
    folder, kind=None, reward=spread_reward, model=None, processor=None, questions=None, credit=None, **settings
):
    """A trainer of a copy of the model; `kind` is Shaped(Watched) unless told, `credit` its arguments of ours."""
    given = parts()
    kind = Shaped(Watched) if kind is None else kind
    return kind(
        copy.deepcopy(given.model) if model is None else model,
        reward,
        config(folder, **settings),
        train_dataset=given.questions if questions is None else questions,
        processing_class=given.processor if processor is None else processor,
        **(credit or {}),
    )


def text_only():
    """A model that reads text alone, with the small model's tokenizer, and questions without a picture."""
    tokenizer = parts().processor.tokenizer
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1, eos_token_id=tokenizer.eos_token_id,
        )
    )  # fmt: skip
    return {"model": model, "processor": tokenizer, "questions": parts().questions.remove_columns("image")}


def weights_of(done):
    return {name: value.detach().clone() for name, value in done.model.named_parameters()}


def losses_of(done):
    return [entry["loss"] for entry in done.state.log_history if "loss" in entry]
