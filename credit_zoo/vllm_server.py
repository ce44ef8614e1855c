"""Samples with vLLM for a trainer in another process: serves a model, and takes over the weights it is sent."""

from credit_zoo.cli import CommandLine, start

main = CommandLine(
    name="vllm_server",
    about=__doc__,
    settings="credit_zoo.rollout.vllm_server:VllmServer",
    run="credit_zoo.rollout.vllm_server:serve",
    listed="model",
    examples=(
        "small",
        "Qwen/Qwen2.5-VL-3B-Instruct port=8000 dtype=bfloat16",
    ),
)

if __name__ == "__main__":
    start(main)
