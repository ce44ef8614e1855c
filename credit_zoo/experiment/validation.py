"""What a run refuses before it starts: settings that nothing of it reads, or that make no sense together."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from credit_zoo.cli import Command, trained_bench
from credit_zoo.errors import UsageError
from credit_zoo.experiment.setting_owners import PIECES, TRAINING_GROUPS, chooses_layers, is_of_a_bench, looks_at_a_view
from credit_zoo.question import SPLITS
from credit_zoo.registry import BENCHMARKS, COMBINATIONS, SHAPERS, VIEWS
from credit_zoo.rule_names import heads_of

if TYPE_CHECKING:
    from credit_zoo.evaluation import EvalConfig
    from credit_zoo.objective import Base, Reward, Shaper
    from credit_zoo.policy import ModelConfig
    from credit_zoo.rollout import RolloutConfig, SamplingParams
    from credit_zoo.training import TrainConfig


@runtime_checkable
class Resolved(Protocol):
    """What is looked at here of a resolved experiment."""

    @property
    def shaper(self) -> "Shaper": ...
    @property
    def base(self) -> "Base": ...
    @property
    def train(self) -> "TrainConfig": ...
    @property
    def sampling(self) -> "SamplingParams": ...
    @property
    def eval(self) -> "EvalConfig": ...
    @property
    def model(self) -> "ModelConfig": ...
    @property
    def reward(self) -> "Reward": ...
    @property
    def rollout(self) -> "RolloutConfig": ...


# Settings that are read only where another one has some value, and what it is where they are not.
READ_IF: Mapping[str, tuple[Callable[[Resolved], bool], str]] = {
    "base.max_resampling_rounds": (lambda x: x.base.dynamic_sampling, "base.dynamic_sampling=false"),
    "model.lora_alpha": (lambda x: x.model.lora_rank > 0, "model.lora_rank=0"),
    "model.similarity_layers": (lambda x: chooses_layers(x.shaper), "a rule that does not need visual_similarity"),
    "train.view": (lambda x: _looks(x), "a run that looks at no degraded picture"),
    "rollout.url": (lambda x: x.rollout.engine == "vllm", "rollout.engine=hf"),
    "rollout.cap": (lambda x: x.rollout.engine == "vllm", "rollout.engine=hf"),
    "rollout.timeout": (lambda x: x.rollout.engine == "vllm", "rollout.engine=hf"),
    "rollout.memory": (lambda x: x.rollout.engine == "vllm", "rollout.engine=hf"),
    "train.rollout_tokens": (lambda x: x.rollout.engine == "hf", "rollout.engine=vllm, which bounds its own batches,"),
}


def refuse_unused(command: Command, experiment: Resolved) -> None:
    """A setting that was typed but that nothing of this run reads."""
    base = experiment.base
    pieces = {PIECES[slot].of(getattr(base, slot)).name: f"base={command.base}" for slot in PIECES}
    training = () if command.eval_only else (*heads_of(command.shaper), *pieces, *TRAINING_GROUPS)
    benches = {*command.bench, *([] if command.eval_only else [trained_bench(command)])}
    if not command.eval_only and _looks(experiment):
        training = (*training, VIEWS.of(experiment.train.view).name)
    used = {"eval", "model", "prompt", "data", "rollout", *training}
    for thing, key, _ in command.settings:
        if is_of_a_bench(thing, key):
            if thing not in benches:
                raise UsageError(f"{thing}.{key} was set, but bench={','.join(command.bench)} does not use it")
            continue
        if thing not in used:
            if command.eval_only and thing in (*TRAINING_GROUPS, *heads_of(command.shaper), *pieces, *VIEWS):
                raise UsageError(f"{thing}.{key} was set, but eval_only=true trains nothing")
            raise UsageError(f"{thing}.{key} was set, but {_owner(command, experiment, thing)} does not use it")
        is_read, otherwise = READ_IF.get(f"{thing}.{key}", (lambda _: True, ""))
        if not is_read(experiment):
            raise UsageError(f"{thing}.{key} was set, but {otherwise} does not use it")


def _looks(experiment: Resolved) -> bool:
    return looks_at_a_view(experiment.shaper, experiment.base)


def _owner(command: Command, experiment: Resolved, thing: str) -> str:
    """The word that chose another piece than the one that was set."""
    if thing in VIEWS and _looks(experiment):
        return f"view={VIEWS.of(experiment.train.view).name}"
    if thing in SHAPERS or thing in COMBINATIONS or thing in VIEWS:
        return f"shaper={command.shaper}"
    return f"base={command.base}"


def refuse_unfit(command: Command, experiment: Resolved) -> None:
    """Settings that are right each on its own, but not together."""
    checks = [_measuring(command, experiment)]
    if not command.eval_only:
        checks += [_knowing(command), _sampling(experiment), _updating(experiment), _rewarding(command, experiment)]
        checks += [_going_together(command, experiment)]
    for sentence in (sentence for check in checks for sentence in check):
        raise UsageError(sentence)


def _measuring(command: Command, experiment: Resolved) -> Iterator[str]:
    e = experiment.eval
    if command.data is None and e.split not in SPLITS:
        yield (f"eval.split must be one of {', '.join(SPLITS)}, got '{e.split}': a twin has no other, data= may")
    if command.eval_only and e.every:
        yield f"eval.every={e.every} was set, but eval_only=true trains nothing"
    certain = "eval.temperature=0" if e.temperature == 0 else "eval.top_k=1" if e.top_k == 1 else None
    if certain and e.samples > 1:
        yield f"{certain} gives every question one answer eval.samples={e.samples} times: set eval.samples=1"


def _knowing(command: Command) -> Iterator[str]:
    truth = SHAPERS[command.shaper].facts.truth
    if truth and command.data is not None:
        yield (
            f"shaper={command.shaper} needs {', '.join(truth)}, which a twin alone can tell: leave out "
            f"data={command.data}, or choose another shaper"
        )


def _going_together(command: Command, experiment: Resolved) -> Iterator[str]:
    from credit_zoo.objective import Budget, refusal  # torch stands behind it

    budget = Budget(experiment.sampling.group, experiment.train.updates)
    said = refusal(command.shaper, experiment.base, budget)
    if said is not None:
        yield said


def _sampling(experiment: Resolved) -> Iterator[str]:
    """What is drawn must be able to differ, or there is nothing to learn from."""
    import torch

    s, estimator = experiment.sampling, experiment.base.estimator
    name = PIECES["estimator"].of(estimator).name
    # One answer each to two prompts, one of them right.
    right, each = torch.tensor([1.0, 0.0]), torch.ones(2)
    if s.group == 1 and not estimator(right, torch.tensor([0, 1]), each).any():
        yield (
            f"sampling.group=1 leaves base.estimator={name} nothing to compare: every advantage would be 0. "
            "Set sampling.group to 2 or more"
        )
    for setting, one in (("temperature=0", s.temperature == 0), ("top_k=1", s.top_k == 1)):
        if one:
            yield (
                f"sampling.{setting} draws one response to a prompt again and again, and every advantage would be 0: "
                "training needs responses that differ; the most probable one is measured by eval.greedy"
            )
    if s.max_tokens == 1:
        yield "sampling.max_tokens=1 has no room for an answer and the token that ends it: every response would be cut"


def _updating(experiment: Resolved) -> Iterator[str]:
    model, train = experiment.model, experiment.train
    if model.dtype == "float16":
        yield (
            "model.dtype=float16 is for measuring only: gradients of training are too small for it and no loss scaling "
            "is done; train in bfloat16 or float32"
        )
    if model.lora_rank and not model.freeze_vision:
        yield (
            f"model.lora_rank={model.lora_rank} trains adapters of the language model and nothing else: with "
            "model.freeze_vision=false nothing more would be trained. Leave one of them out"
        )
    if _looks(experiment) and train.view.swaps and train.prompts == 1:
        yield "train.prompts=1 leaves view=swapped no other picture to show: raise it, or choose another view"
    if train.warmup >= train.steps:
        yield f"train.warmup={train.warmup} must be less than train.steps={train.steps}, or train.lr is never reached"


def _rewarding(command: Command, experiment: Resolved) -> Iterator[str]:
    cache, limit = experiment.base.overlong_cache, experiment.sampling.max_tokens
    if cache > limit:
        yield f"base.overlong_cache={cache} must be at most sampling.max_tokens={limit}"
    lesson, overlap = trained_bench(command), experiment.reward.overlap
    if overlap and not BENCHMARKS[lesson].facts.boxes:
        yield f"reward.overlap={overlap:g} must be 0: the answers of {lesson}, which is trained on, are no boxes"
