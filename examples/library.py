"""The zoo as a library. Every editor that knows `# %%` shows this file as a notebook."""

# %%
import torch

import credit_zoo as cz
from credit_zoo.trl import laptop

print(cz.shapers()[["rule", "needs", "scope"]])

# %% [markdown]
# ## Token credit from tensors that you have
# Two responses of three and four tokens, one advantage each; the mask is no prefix.

# %%
advantage = torch.tensor([1.0, -1.0])
mask = torch.tensor([[1, 0, 1, 1], [1, 1, 1, 1]])
entropy = torch.tensor([[0.2, 9.0, 1.4, 0.3], [0.1, 0.9, 0.4, 0.2]])
rule = cz.shaper("entropy", temperature=0.5)
print(rule.needs, cz.shape(rule, advantage=advantage, mask=mask, entropy=entropy))

# %% [markdown]
# ## Log-probability and entropy without the matrix of logits

# %%
torch.manual_seed(0)
hidden, lm_head, ids = torch.randn(2, 4, 16), torch.nn.Linear(16, 1000), torch.randint(1000, (2, 4))
measured = cz.token_statistics(hidden, lm_head, ids, temperature=0.9)
print(measured.logp, measured.entropy)

# %% [markdown]
# ## Signals of a vision-language model, by hooks
# Any model of transformers; here the one that ships with the package, one question of a twin, and two made-up answers.

# %%
model, processor, questions, _ = laptop("geometry3k", count=1)
prompt = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": questions[0]["prompt"][0]["content"]}]}
]
text = processor.apply_chat_template(prompt, add_generation_prompt=True)
answers = ["<think> A=50; sum=50+60=110</think><answer>70</answer>", "<think> A=50</think><answer>60</answer>"]
batch = processor(
    text=[text + answer for answer in answers], images=[[questions[0]["image"]]] * 2, padding=True, return_tensors="pt"
)
T = max(len(processor.tokenizer(answer)["input_ids"]) for answer in answers)
lengths = torch.tensor([len(processor.tokenizer(answer)["input_ids"]) for answer in answers])
mask = torch.arange(T) >= T - lengths[:, None]  # this processor pads on the left, so responses end together

rule = cz.shaper("pepo")
with torch.no_grad(), cz.listen(model, rule.needs, input_ids=batch["input_ids"], mask=mask) as signals:
    model(**batch)
token_advantage = cz.shape(rule, advantage=advantage, mask=mask, **signals)
print(token_advantage)
