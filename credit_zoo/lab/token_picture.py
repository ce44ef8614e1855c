"""A picture of what rules do: the tokens of one sampled answer, coloured by their weights.

    python -m credit_zoo.show shaper=pepo,entropy,high_entropy bench=geometry3k index=0 out=tokens.png

Red tokens weigh more than 1, blue ones less. PEPO's weights lie close to 1, so each rule has a colour scale of its own:
full colour stands for the weight farthest from 1, which is printed beside the rule's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from credit_zoo.objective import shape, weights
from credit_zoo.policy import BatchLayout, ModelConfig, Policy, listen, token_signals
from credit_zoo.questions import DataConfig, PromptConfig, open_questions
from credit_zoo.registry import BENCHMARKS, SHAPERS, UsageError, unknown
from credit_zoo.rollout import RolloutWorker, SamplingParams, sample
from credit_zoo.types import ShaperInputs

WIDTH, PICTURE, FONT = 1180, 252, 17  # pixels
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Show:
    """What to draw. Rules of scope "batch" see the answers to `prompts` questions; the first answer to the first
    is shown.
    """

    shaper: str = "pepo,entropy,high_entropy"
    bench: str = "geometry3k"
    model: str = "small"
    index: int = 0
    prompts: int = 8
    seed: int = 0
    out: str = "tokens.png"


@dataclass(frozen=True)
class Answer:
    """One sampled answer: its picture, its question, its tokens, and the weights `[T]` that each rule gives them."""

    picture: Image.Image
    question: str
    tokens: tuple[str, ...]
    weights: dict[str, Tensor]


def answer(settings: Show) -> Answer:
    """Samples, measures and shapes."""
    names = settings.shaper.split(",")
    for name in names:
        if name not in SHAPERS:
            raise unknown("shaper", name, SHAPERS)
    policy, bench = Policy.load(ModelConfig(path=settings.model)).eval(), BENCHMARKS[settings.bench].factory()
    stream = open_questions(bench, "test", None, DataConfig(), settings.seed, shuffle=False)
    questions = [stream[settings.index + k] for k in range(settings.prompts)]
    prompts = RolloutWorker(policy, bench, PromptConfig(style="short")).encode(questions)
    drawn = sample(policy, prompts, SamplingParams(max_tokens=56), torch.Generator().manual_seed(settings.seed))
    rows = BatchLayout.of(prompts, drawn)
    needs = sorted({need for name in names for need in SHAPERS[name].facts.needs})
    with torch.no_grad(), listen(policy, rows, needs) as cosines:
        found = policy(rows, 1.0)
    signals = token_signals(needs, found, cosines, rows.mask)
    x = ShaperInputs(torch.ones(len(drawn.ids)), signals, drawn.mask, drawn.row_of, drawn.ids, progress=1.0)
    kept = drawn.mask[0]
    shaped = {name: weights(shape(SHAPERS[name].factory(), x), x)[0, kept] for name in names}
    picture = questions[0].image
    if picture is None:
        raise UsageError(f"question {settings.index} of {settings.bench} has no picture to show")
    tokens = tuple(policy.encoder.tokenizer.decode([token]) for token in drawn.ids[0, kept].tolist())
    return Answer(picture, questions[0].text, tokens, shaped)


def draw(found: Answer) -> Image.Image:
    """The picture with its question on the left, a block of coloured tokens for each rule on the right."""
    font = ImageFont.load_default(FONT)
    page = Image.new("RGB", (WIDTH, 2000), "white")
    pen = ImageDraw.Draw(page)
    page.paste(found.picture.resize((PICTURE, PICTURE), Image.Resampling.NEAREST), (16, 16))
    pen.rectangle((15, 15, 16 + PICTURE, 16 + PICTURE), outline="#999999")
    pen.text((16, PICTURE + 26), found.question, fill="black", font=font)
    bottom = 12
    for name, values in found.weights.items():
        farthest = float(values[(values - 1).abs().argmax()])
        pen.text((PICTURE + 40, bottom), f"{name}   (full colour: {farthest:.2f})", fill="#555555", font=font)
        bottom = _tokens(pen, font, bottom + FONT + 8, found.tokens, (values - 1) / max(abs(farthest - 1), 1e-9)) + 14
    return page.crop((0, 0, WIDTH, max(bottom, PICTURE + 26 + 2 * FONT)))


def _tokens(pen: ImageDraw.ImageDraw, font: Font, top: int, tokens: Sequence[str], shade: Tensor) -> int:
    """Draws tokens on backgrounds by their shade in [-1, 1]; returns where the block ends."""
    left = PICTURE + 40
    for token, value in zip(tokens, shade.tolist(), strict=True):
        width = int(pen.textlength(token, font=font)) + 4
        if left + width > WIDTH - 16:
            left, top = PICTURE + 40, top + FONT + 10
        fade = int(255 * (1 - min(abs(value), 1.0) * 0.75))
        color = (255, fade, fade) if value > 0 else (fade, fade, 255)
        pen.rectangle((left, top, left + width, top + FONT + 6), fill=color)
        pen.text((left + 2, top + 1), token, fill="black", font=font)
        left += width + 1
    return top + FONT + 8


def show(settings: Show) -> int:
    """Writes the picture; returns the exit status."""
    draw(answer(settings)).save(Path(settings.out))
    print(f"wrote {settings.out}")
    return 0
