"""Does it work on this GPU, and what does it cost? In at most 8 minutes, without a network.

Part by part: losses against the CPU's, collectives, kernels, tests, attention, Qwen2.5-VL of 3 and 7 billion parameters
with random weights, sampling. A part that fails stops no other. Writes leaderboard/hardware/NAME.json, prints a table.
"""

from typing import TYPE_CHECKING

from credit_zoo.cli import CommandLine, start

if TYPE_CHECKING:
    from credit_zoo.hardware import CheckGpu


def check_gpu(settings: "CheckGpu") -> int:
    """Runs the parts, writes and prints; returns the exit status: 1 if a part failed."""
    from credit_zoo.hardware import check, page

    path = check(settings)
    told = page(path)
    print(told)
    print(f"wrote {path}")
    return int("| failed |" in told)


main = CommandLine(
    name="check_gpu",
    about=__doc__,
    settings="credit_zoo.hardware.report:CheckGpu",
    run="credit_zoo.check_gpu:check_gpu",
    listed="parts",
    examples=("", "losses kernels model_3b seconds=120", "smallest=true device=cpu out=./hardware"),
)

if __name__ == "__main__":
    start(main)
