"""Makes the small model: builds it, warm-starts it on worked solutions of the twins, measures it, writes it."""

from credit_zoo.cli import CommandLine, start

main = CommandLine(
    name="pretrain",
    about=__doc__,
    settings="credit_zoo.lab.taught_solutions:Pretrain",
    run="credit_zoo.lab.pretrain:pretrain",
    examples=(
        "out=runs/model",
        "out=runs/model mixture=geometry3k:1 steps=400 error_steps=100",
    ),
    renamed={
        "slip_steps": "error_steps",
        "slip_lr": "error_lr",
        "perception_slips": "perception_errors",
        "reasoning_slips": "reasoning_errors",
    },
)

if __name__ == "__main__":
    start(main)
