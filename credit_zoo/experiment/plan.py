"""What a run would ask of a machine, by arithmetic alone: `dry_run=true` prints it.

    weights    P w            split by ZeRO 3           P parameters, Q of them trained, w bytes each
    gradients  Q w            split by ZeRO 2, 3
    optimizer  Q (8 + 4)      split by ZeRO 1, 2, 3     two moments, and a float32 copy where w < 4
    training   6 P per token trained on (8 P with gradient checkpointing) at SHARE of a GPU's peak
    sampling   one token of all responses after the other, T in all: T (P w / BANDWIDTH + layers * DISPATCH)
               and 2 P per sampled token at SHARE of the peak; vLLM replays recorded kernels and has no DISPATCH

Activations, the sampler's cache and what an allocator wastes come on top. The times are guesses, to tell hours from
weeks: where one decodes layer by layer from Python, the processor that issues the layers sets the pace, not the GPU.
"""

from collections.abc import Iterator

from credit_zoo.policy import ModelConfig, Sizes, sizes
from credit_zoo.rollout import SamplingParams
from credit_zoo.training import ParallelConfig, TrainConfig, memory_forecast

PROMPT_TOKENS = 400  # a picture of 640 x 480 in Qwen2.5-VL's tokens, and a question
PEAK = 989e12  # dense bfloat16 operations a second of an NVIDIA H100 SXM, as its data sheet has it
SHARE = 0.4
SMALL = 50_000_000  # parameters: below, a plan for GPUs says nothing
BANDWIDTH = 3.35e12  # bytes a second of its memory, as its data sheet has it
DISPATCH = 0.37e-3  # seconds to issue one decoder layer of transformers, measured (leaderboard/LOG.md)


def decoding_seconds(found: Sizes, width: int, sampling: SamplingParams, responses: int, vllm: bool) -> float:
    """Seconds to sample the responses of one process together, `sampling.max_tokens` each."""
    each = found.parameters * width / BANDWIDTH + (0.0 if vllm else found.layers * DISPATCH)
    arithmetic = 2 * found.parameters * responses * sampling.max_tokens / (SHARE * PEAK)
    return sampling.max_tokens * each + arithmetic


def plan_lines(
    model: ModelConfig,
    name: str,
    train: TrainConfig,
    sampling: SamplingParams,
    parallel: ParallelConfig,
    vllm: bool = False,
) -> Iterator[str]:
    """The plan as lines of text; `vllm` says who samples."""
    responses, processes = train.prompts * sampling.group, parallel.processes or 1
    tokens, asked = responses * sampling.max_tokens, train.prompts * PROMPT_TOKENS
    yield f"tokens a step      {tokens:,} sampled at most, {asked:,} of prompts at {PROMPT_TOKENS} each"
    passes = -(-responses // (processes * train.micro_batch))
    limit = f"{train.micro_batch} responses"
    if train.micro_tokens:
        passes = max(passes, -(-(tokens + asked) // (processes * train.micro_tokens)))
        limit += f" and {train.micro_tokens:,} tokens"
    yield f"passes a step      {passes} of at most {limit} on each of {processes} processes"
    found = sizes(model, name)
    if found is None:
        yield f"memory and time    unknown: the config of {model.path} is not at hand"
        return
    billions = f"{found.parameters / 1e9:.3f} billion, {found.trained / 1e9:.3f} of them trained"
    yield f"parameters         {billions}, {model.dtype}"
    if found.parameters < SMALL:
        yield "memory and time    of no account for a GPU; docs/speed.md says what it takes on a CPU"
        return
    width = 4 if model.dtype == "float32" else 2
    for stage in range(4):
        chosen = parallel.zero == str(stage) or (stage == 0 and parallel.zero == "none")
        needed = memory_forecast(found, width, stage, processes, parallel.offload if chosen else "none")
        mark = f"   <- this run, offload {parallel.offload}" if chosen else ""
        stage_name = f"ZeRO {stage}" if stage else "DDP   "
        yield f"memory a GPU       {needed:8.1f} GiB without activations, {stage_name}{mark}"
    trained = (8 if model.gradient_checkpointing else 6) * found.parameters * (tokens + asked)
    training = trained / (SHARE * PEAK * processes)
    decoding = decoding_seconds(found, width, sampling, -(-responses // processes), vllm)
    gpus = f"{processes} x NVIDIA H100 at {100 * SHARE:.0f}% of its peak"
    yield f"time, a guess      {decoding:.1f} s to sample, {training:.1f} s to train on a step, on {gpus}"
    yield f"                   {(decoding + training) * train.steps / 3600:.2f} h in all, measuring aside"
