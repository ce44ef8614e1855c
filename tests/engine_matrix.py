"""A small module trained by every engine, on one process or several, and what AdamW makes of it by hand.

    python -m torch.distributed.run --nproc_per_node=2 tests/engine_matrix.py FOLDER

trains and resumes it with all of them, each process with its share of the rows, and writes the states.
"""

import sys
from itertools import product
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import nn

from credit_zoo.training.deepspeed_zero import deepspeed_engine
from credit_zoo.training.engine import ParallelConfig, torch_engine
from credit_zoo.training.processes import part_processes

RATE, DECAY, CLIP, ROWS = 1e-2, 0.1, 0.5, 12
ENGINES = ("none", "0", "1", "2", "2 optimizer", "3", "3 all")
DTYPES = ("float32", "bfloat16")


def module(dtype):
    """Two trained layers and a frozen one between them."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(7, 16), nn.Tanh(), nn.Linear(16, 5, bias=False), nn.Linear(5, 3))
    made[2].requires_grad_(False)
    return made.to(getattr(torch, dtype))


def engine(name, layers, accelerator):
    """An engine around a module: `none`, or ZeRO's stage and what of it is offloaded."""
    zero, _, offload = name.partition(" ")
    if zero == "none":
        return torch_engine(accelerator, layers, RATE, DECAY)
    parallel = ParallelConfig(zero=zero, offload=offload or "none")
    return deepspeed_engine(accelerator, layers, parallel, RATE, DECAY, CLIP)


def rows(step, dtype):
    return torch.randn(ROWS, 7, generator=torch.Generator().manual_seed(step)).to(getattr(torch, dtype))


def loss_of(called, x):
    """A share of the mean over all rows, as the loop's losses are shares of a sum."""
    return (called(x).float() ** 3).sum() / ROWS


def train(made, steps, dtype, accelerator, parts=1):
    """Updates with numbers `steps`, in micro-batches; the norms."""
    norms = []
    for step in steps:
        own = rows(step, dtype)[accelerator.process_index :: accelerator.num_processes].chunk(parts)
        for number, x in enumerate(own, start=1):
            with made.micro_batch(last=number == parts):
                made.backward(loss_of(made.module, x))
        norms.append(made.step(RATE / (1 + step), CLIP))
    return norms


def resumed(name, state, layers, accelerator):
    """An engine around a fresh module that goes on from a state, as a run does: the layers' weights first."""
    with torch.no_grad():
        for key, parameter in layers.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(state[f"weight/{key}"])
    again = engine(name, layers, accelerator)
    again.load(state)
    return again


def by_hand(steps, dtype):
    """AdamW with decoupled decay (arXiv:1711.05101) on float32 copies of the weights: the state, and the norms."""
    layers = module(dtype)
    trained = {name: p for name, p in layers.named_parameters() if p.requires_grad}
    w = {name: p.detach().float() for name, p in trained.items()}
    m, v = ({name: torch.zeros_like(p) for name, p in w.items()} for _ in range(2))
    norms = []
    for step in steps:
        found = torch.autograd.grad(loss_of(layers, rows(step, dtype)), list(trained.values()))
        gradients = [gradient.float() for gradient in found]
        norms.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
        for name, gradient in zip(w, gradients, strict=True):
            g, rate = gradient * min(1, CLIP / norms[-1]), RATE / (1 + step)
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g**2
            shrunk = (v[name] / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
            w[name] = w[name] * (1 - rate * DECAY) - rate * m[name] / (1 - 0.9 ** (step + 1)) / shrunk
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(w[name])
    count = {f"step/{name}": torch.tensor(float(len(norms))) for name in w}
    kinds = {"weight": w, "exp_avg": m, "exp_avg_sq": v}
    return {f"{kind}/{name}": p for kind, values in kinds.items() for name, p in values.items()} | count, norms


def main(folder):
    """Three updates, a save, three more with the next engine; only the first process may hold a state."""
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    for dtype, (number, name) in product(DTYPES, enumerate(ENGINES)):
        made, then = engine(name, module(dtype), accelerator), ENGINES[(number + 1) % len(ENGINES)]
        train(made, range(3), dtype, accelerator)
        state, place = made.state(), folder / f"{dtype}-{name}.safetensors"
        assert bool(state) == accelerator.is_main_process, (dtype, name)
        if state:
            save_file(state, place)
        accelerator.wait_for_everyone()
        again = resumed(then, load_file(place), module(dtype), accelerator)
        train(again, range(3, 6), dtype, accelerator)
        if end := again.state():
            save_file(end, folder / f"{dtype}-{name}-then-{then}.safetensors")
    part_processes(together=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
