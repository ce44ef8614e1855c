"""A picture of what rules do: the tokens of one sampled answer, coloured by their weights.

    python -m credit_zoo.show shaper=pepo,entropy,high_entropy bench=geometry3k index=0 out=tokens.png

Orange tokens weigh more than 1, blue ones less, on one scale for all rules (`credit_zoo.lab.credit_colors`), with a key
below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from credit_zoo.errors import UsageError, unknown
from credit_zoo.lab.credit_colors import color
from credit_zoo.objective import shape, weights
from credit_zoo.policy import BatchLayout, ModelConfig, Patches, Policy, measure_tokens
from credit_zoo.questions import DataConfig, PromptConfig, open_questions
from credit_zoo.registry import BENCHMARKS, SHAPERS
from credit_zoo.rollout import RolloutWorker, SamplingParams, sample
from credit_zoo.types import ShaperInputs

WIDTH, PICTURE, FONT = 960, 252, 20  # pixels; the README shows 800
LEFT = PICTURE + 40  # where the tokens begin
KEY = {0.0: "0", 0.5: "0.5", 0.9: "0.9", 1.0: "1", 1.1: "1.1", 1.5: "1.5", 2.0: "2 or more"}
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Show:
    """What to draw. Rules of scope "batch" see the answers to `prompts` questions; the first answer to the first
    is shown.
    """

    shaper: str = "pepo,entropy,high_entropy"  # rules, separated by commas
    bench: str = "geometry3k"  # whose twin is asked
    model: str = "small"  # a folder, a hub id, or a shipped one: small, habits, habits_fluent
    index: int = 0  # of the question
    prompts: int = 8  # asked together, for rules that look at all responses
    seed: int = 0  # of the draws
    out: str = "tokens.png"  # the picture


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
        facts = SHAPERS[name].facts
        if beyond := {*facts.needs} - {*facts.measured, *facts.text}:
            raise UsageError(f"'{name}' needs {', '.join(sorted(beyond))}, which one answer does not tell")
    policy, bench = Policy.load(ModelConfig(path=settings.model)).eval(), BENCHMARKS[settings.bench].factory()
    stream = open_questions(bench, "test", None, DataConfig(), settings.seed, shuffle=False)
    questions = [stream[settings.index + k] for k in range(settings.prompts)]
    prompts = RolloutWorker(policy, bench, PromptConfig(style="short")).encode(questions)
    drawn = sample(policy, prompts, SamplingParams(max_tokens=56), torch.Generator().manual_seed(settings.seed))
    rows = BatchLayout.of(prompts, drawn)
    needs = sorted({need for name in names for need in SHAPERS[name].facts.needs})
    with torch.no_grad():
        _, signals = measure_tokens(policy, policy, rows, needs, view=Patches())
    one = torch.ones(len(drawn.ids))
    x = ShaperInputs(one, signals, drawn.mask, drawn.row_of, drawn.ids, progress=1.0, correct=one)
    kept = drawn.mask[0]
    shaped = {name: weights(shape(SHAPERS[name].factory(), x), x)[0, kept] for name in names}
    picture = questions[0].image
    if picture is None:
        raise UsageError(f"question {settings.index} of {settings.bench} has no picture to show")
    tokens = tuple(policy.encoder.tokenizer.decode([token]) for token in drawn.ids[0, kept].tolist())
    return Answer(picture, questions[0].text, tokens, shaped)


def draw(found: Answer) -> Image.Image:
    """The picture with its question on the left, the coloured tokens for each rule and the key on the right."""
    font = ImageFont.load_default(FONT)
    page = Image.new("RGB", (WIDTH, 4000), "white")
    pen = ImageDraw.Draw(page)
    page.paste(found.picture.resize((PICTURE, PICTURE), Image.Resampling.NEAREST), (16, 16))
    pen.rectangle((15, 15, 16 + PICTURE, 16 + PICTURE), outline="#999999")
    foot = PICTURE + 26
    for line in _wrapped(pen, font, found.question, PICTURE):
        pen.text((16, foot), line, fill="black", font=font)
        foot += FONT + 6
    bottom = 12
    for name, values in found.weights.items():
        title = f"{name}   (W from {float(values.min()):.2f} to {float(values.max()):.2f})"
        pen.text((LEFT, bottom), title, fill="#444444", font=font)
        bottom = _tokens(pen, font, bottom + FONT + 8, found.tokens, values) + 14
    bottom = _key(pen, font, bottom)
    return page.crop((0, 0, WIDTH, max(bottom, foot) + 10))


def _wrapped(pen: ImageDraw.ImageDraw, font: Font, text: str, width: int) -> list[str]:
    """Text in lines of at most `width` pixels; a longer word stands alone."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if pen.textlength(longer, font=font) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _tokens(pen: ImageDraw.ImageDraw, font: Font, top: int, tokens: Sequence[str], weights: Tensor) -> int:
    """Draws tokens on backgrounds by their weights `[T]`; returns where the block ends."""
    left = LEFT
    for token, weight in zip(tokens, weights.tolist(), strict=True):
        width = int(pen.textlength(token, font=font)) + 4
        if left + width > WIDTH - 16:
            left, top = LEFT, top + FONT + 10
        pen.rectangle((left, top, left + width, top + FONT + 6), fill=color(weight))
        pen.text((left + 2, top + 1), token, fill="black", font=font)
        left += width + 1
    return top + FONT + 8


def _key(pen: ImageDraw.ImageDraw, font: Font, top: int) -> int:
    """Draws the colours of some weights; returns where the key ends."""
    left = LEFT + int(pen.textlength("weight W: ", font=font))
    pen.text((LEFT, top + 3), "weight W:", fill="#444444", font=font)
    for weight, text in KEY.items():
        width = int(pen.textlength(text, font=font)) + 28
        pen.rectangle((left, top, left + width, top + FONT + 8), fill=color(weight), outline="#999999")
        pen.text((left + 14, top + 2), text, fill="black", font=font)
        left += width
    return top + FONT + 8


def show(settings: Show) -> int:
    """Writes the picture; returns the exit status."""
    draw(answer(settings)).save(Path(settings.out))
    print(f"wrote {settings.out}")
    return 0
