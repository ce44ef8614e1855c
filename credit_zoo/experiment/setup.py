"""How a run begins: its processes, policy and rollout engine, and the lines that say what was resolved."""

import os
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list, set_seed

from credit_zoo.cli import Command
from credit_zoo.experiment.config import ExperimentConfig, settings_of
from credit_zoo.experiment.context import RunContext
from credit_zoo.experiment.setting_owners import looks_at_a_view
from credit_zoo.policy import Policy, weights_digest
from credit_zoo.results import new_run_id, origin, utc_now
from credit_zoo.rollout import sampler
from credit_zoo.training import open_accelerator

PROMPT_ROOM = 2048  # tokens that an engine in this process keeps for a prompt


def open_run(command: Command, config: ExperimentConfig, seed: int) -> RunContext:
    """Starts the processes and loads the policy; a rollout engine elsewhere is handed its weights."""
    tracker = None if command.tracker == "none" else command.tracker
    accelerator = open_accelerator(tracker, command.out)
    created = utc_now()
    (run_id,) = broadcast_object_list([new_run_id(created)])
    set_seed(seed)
    choose_threads(config)
    policy = Policy.load(config.model).to(accelerator.device)
    elsewhere = sampler(config.rollout, policy, PROMPT_ROOM + max(config.sampling.max_tokens, config.eval.max_tokens))
    if elsewhere and (accelerator.is_main_process or not elsewhere.shared):
        elsewhere.sync(policy)
    accelerator.wait_for_everyone()
    digest = weights_digest(policy)
    context = RunContext(command, config, seed, run_id, created, accelerator, policy, digest, elsewhere)
    accelerator.project_configuration.logging_dir = str(context.folder)
    return context


def choose_threads(config: ExperimentConfig) -> None:
    """Threads of the CPU: as OMP_NUM_THREADS says; without it one for the small model, which two hardly speed up and
    which, beside another busy process, two threads that wait for each other slow down several times; otherwise as
    many as the load leaves free.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = cores - round(os.getloadavg()[0]) if hasattr(os, "getloadavg") else cores
    torch.set_num_threads(1 if config.model.path == "small" else max(1, free))


def log_setup(context: RunContext) -> None:
    """Says what was resolved: rule, base, budget, model, and where the record goes."""
    config, command = context.config, context.command
    world = context.accelerator.num_processes
    if not command.eval_only:
        shaper = ", ".join(f"{k}={v}" for k, v in settings_of(config.shaper).items())
        tokens = config.train.prompts * config.sampling.group * config.sampling.max_tokens
        context.log(f"shaper  {command.shaper}({shaper}), schedule {config.train.shaper_schedule}")
        if looks_at_a_view(config.shaper, config.base):
            context.log(f"view    {settings_of(config.train)['view']}, one more pass of the policy over the responses")
        context.log(f"base    {command.base}: " + ", ".join(f"{k}={v}" for k, v in settings_of(config.base).items()))
        context.log(
            f"budget  {config.train.steps} steps of {config.train.prompts} prompts x {config.sampling.group} responses "
            f"(at most {tokens:,} tokens a step), {world} process{'es' if world > 1 else ''}, seed {context.seed}"
        )
    parameters = sum(p.numel() for p in context.policy.parameters())
    context.log(f"model   {config.model.path}, {parameters / 1e6:.1f} million parameters, {config.model.dtype}")
    context.log(f"threads {torch.get_num_threads()} (OMP_NUM_THREADS=N sets them)")
    where = origin()
    commit = f"{where.commit[:10]}{' with uncommitted changes' if where.dirty else ''}" if where.commit else "none"
    context.log(f"record  below {Path(command.results).absolute()}, commit {commit}")
