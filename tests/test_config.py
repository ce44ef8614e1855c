"""Words to an experiment: every shipped file is used, typed settings come last, and nothing stays behind."""

import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from credit_zoo.cli.arguments import gin_files, parse, summary, trained_bench
from credit_zoo.errors import UsageError
from credit_zoo.experiment.config import benchmark, resolve, setting_groups, settings_of
from credit_zoo.experiment.setting_owners import PIECES
from credit_zoo.registry import BENCHMARKS, CONFIGS, SHAPERS
from credit_zoo.rule_names import gin_name

SHIPPED = sorted(gin_files("shaper"))
BASES = sorted(gin_files("base"))
BINDING = re.compile(r"^(\w+)\.(\w+) *= *(.+?)(?: +#.*)?$", re.MULTILINE)
OPERATIVE = re.compile(r"^(\w+)\.(\w+) = ", re.MULTILINE)
# The axes whose files one command chooses, in the order in which they are parsed.
AXES_IN_ORDER = ("model", "base", "bench", "shaper", "scale")


def resolved(*words):
    return resolve(parse(words))


def bound_by(*paths):
    return {pair for path in paths for pair in ((m[1], m[2]) for m in BINDING.finditer(path.read_text("utf-8")))}


def used_by(experiment):
    return set(OPERATIVE.findall(experiment.gin_text))


def files_of(command):
    named = {"bench": command.bench[0]} | {
        axis: getattr(command, axis) for axis in ("model", "base", "shaper", "scale")
    }
    found = {axis: gin_files(axis).get(named[axis]) for axis in AXES_IN_ORDER}
    return [CONFIGS / "default.gin", *(path for path in found.values() if path)]


def pieces_of(experiment):
    """Every dataclass of settings that a run reads, by the word that a user types."""
    named = {name: getattr(experiment, name) for name in setting_groups() if name != "experiment"}
    named |= {
        registry.of(getattr(experiment.base, slot)).name: getattr(experiment.base, slot)
        for slot, registry in PIECES.items()
    }
    return named | {gin_name(SHAPERS.of(experiment.shaper).name): experiment.shaper}


# --- the shipped files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("shaper", SHIPPED)
def test_every_shaper_resolves_under_every_base_and_uses_all_that_its_files_set(shaper, base):
    command = parse([f"shaper={shaper}", f"base={base}", "bench=mathvista"])
    experiment = resolve(command)
    assert SHAPERS.of(experiment.shaper).name == shaper
    assert bound_by(*files_of(command)) <= used_by(experiment)


@pytest.mark.parametrize("axis", ["model", "scale", "bench"])
def test_every_file_of_the_other_axes_resolves_and_is_used_in_full(axis):
    for name in gin_files(axis):
        command = parse([f"{axis}={name}"])
        assert bound_by(*files_of(command)) <= used_by(resolve(command)), name


def test_a_setting_of_a_file_reaches_the_experiment():
    assert resolved("base=dapo").base.loss.eps_high == 0.28
    assert resolved("shaper=pepo_release").shaper.temperature == 1.8
    assert resolved("model=qwen2_5_vl_3b").model.dtype == "bfloat16"
    assert resolved("scale=8gpu").train.steps == 262
    assert resolved("bench=mathvista").eval.split == "test"


def test_the_files_of_an_axis_are_the_names_of_what_they_configure():
    assert set(SHIPPED) == {
        n for n, one in SHAPERS.listings().items() if one.file and CONFIGS.parent in one.file.parents
    }
    assert set(gin_files("bench")) <= set(BENCHMARKS)
    assert not [name for name in BASES if name in SHAPERS], "shaper=NAME would be ambiguous"


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.gin")), ids=lambda path: path.stem)
def test_every_file_starts_with_a_reason_and_sets_nothing_twice(path):
    first, rest = path.read_text("utf-8").split("\n", 1)
    assert re.match(r"# .{20,}", first) and len(summary(path)) >= 20
    keys = [match[1] + "." + match[2] for match in BINDING.finditer(rest)]
    assert len(keys) == len(set(keys))


def test_a_number_in_a_file_of_a_method_is_one_of_its_settings_with_the_type_of_its_field():
    experiment = resolved("base=dapo", "shaper=pepo_release", "model=qwen2_5_vl_3b", "scale=8gpu")
    for name, piece in pieces_of(experiment).items():
        for field in fields(piece):
            default, value = field.default, getattr(piece, field.name)
            if isinstance(default, (bool, str)):
                assert type(value) is type(default), f"{name}.{field.name}"


def test_no_two_things_share_a_name():
    names = [name for name in setting_groups() if name != "experiment"]
    names += [*SHAPERS, *(name for registry in PIECES.values() for name in registry), *BENCHMARKS]
    assert sorted(names) == sorted(set(names))


def test_every_thing_has_settings_that_a_word_can_give():
    kinds = {cls for thing, cls in setting_groups().items() if thing != "experiment"}
    kinds |= {registry[name].factory for registry in (SHAPERS, *PIECES.values()) for name in registry}
    assert all(is_dataclass(kind) for kind in kinds)


# --- typed settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "thing", "key", "value"),
    [
        (["train.lr=0.5"], "train", "lr", 0.5),
        (["train.steps=1_000"], "train", "steps", 1000),
        (["eval.greedy=FALSE"], "eval", "greedy", False),
        (["prompt.style=paper"], "prompt", "style", "paper"),
        (["train.lr=1"], "train", "lr", 1.0),
        (["model.path=5"], "model", "path", "5"),
        (["model.path=%a'b\"c@d().{}=e"], "model", "path", "%a'b\"c@d().{}=e"),
        (["prompt.suffix=two\nlines\\n"], "prompt", "suffix", "two\nlines\\n"),
        (["reward.format=0"], "reward", "format", 0.0),
        (["base=dapo", "base.overlong_filter=false"], "base", "overlong_filter", False),
        (["shaper=pepo_release", "pepo_release.temperature=1.25"], "shaper", "temperature", 1.25),
        (["shaper=pepo", "train.shaper_schedule=none"], "train", "shaper_schedule", "none"),
        (["scale=smoke", "eval.questions=7"], "eval", "questions", 7),
        (["train.max_grad_norm=inf"], "train", "max_grad_norm", float("inf")),
    ],
)
def test_a_typed_setting_overrides_the_files_with_the_type_of_its_field(words, thing, key, value):
    found = getattr(getattr(resolved(*words), thing), key)
    assert found == value
    assert type(found) is type(value)


def test_steps_is_short_for_train_steps():
    assert resolved("steps=7").train.steps == resolved("train.steps=7").train.steps == 7


def test_a_piece_of_the_base_is_exchanged_by_its_name_and_its_settings_are_then_used():
    experiment = resolved("base.estimator=rloo", "base.aggregation=token_mean")
    assert settings_of(experiment.base)["estimator"] == "rloo()"
    assert settings_of(experiment.base)["aggregation"] == "token_mean()"
    assert "grpo" not in {thing for thing, _ in used_by(experiment)}
    with pytest.raises(UsageError, match=r"grpo\.eps was set, but base=grpo does not use it"):
        resolved("base.estimator=rloo", "grpo.eps=0.1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pepo.alpha=0.1"], "pepo.alpha was set, but shaper=uniform does not use it"),
        (["grpo.eps=0.1", "base=dr_grpo"], "grpo.eps was set, but base=dr_grpo does not use it"),
        (["ppo_clip.eps_low=0.1", "eval_only=true"], "eval_only=true trains nothing"),
        (["shaper=pepo", "pepo.alpha=0.1", "eval_only=true"], "eval_only=true trains nothing"),
        (["steps=3", "eval_only=true"], "train.steps was set, but eval_only=true trains nothing"),
        (["sampling.group=4", "eval_only=true"], "eval_only=true trains nothing"),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(words, said):
    with pytest.raises(UsageError, match=said):
        resolved(*words)


def test_eval_only_takes_the_settings_that_measuring_reads():
    words = ("eval_only=true", "eval.samples=2", "model.logits_at_once=16", "prompt.style=paper", "data.reasoning=0.5")
    assert resolved(*words).data.reasoning == 0.5


def test_an_overlong_cache_longer_than_any_response_is_refused_before_the_run():
    with pytest.raises(UsageError, match=r"base\.overlong_cache=8 must be at most sampling\.max_tokens=4"):
        resolved("base=dapo", "sampling.max_tokens=4")


def test_an_overlap_cannot_be_paid_for_where_no_boxes_are_trained_on():
    with pytest.raises(UsageError, match=r"reward\.overlap=1 must be 0: the answers of geometry3k"):
        resolved("bench=mathvista", "reward.overlap=1")
    assert resolved("bench=lisa_grounding").reward.overlap == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sampling.group=1"], "sampling.group=1 leaves base.estimator=grpo nothing to compare"),
        (["sampling.group=1", "base=dr_grpo"], "sampling.group=1 leaves base.estimator=dr_grpo nothing to compare"),
        (["sampling.group=1", "base.estimator=rloo"], "sampling.group=1 leaves base.estimator=rloo nothing to compare"),
        (["sampling.temperature=0"], "sampling.temperature=0 draws one response to a prompt again and again"),
        (["sampling.top_k=1"], "sampling.top_k=1 draws one response to a prompt again and again"),
        (["sampling.max_tokens=1"], "sampling.max_tokens=1 has no room for an answer and the token that ends it"),
        (["model.dtype=float16"], "model.dtype=float16 is for measuring only"),
        (["train.warmup=5", "steps=5"], "train.warmup=5 must be less than train.steps=5"),
        (["model.lora_rank=4", "model.freeze_vision=false"], "model.lora_rank=4 trains adapters of the language model"),
        (["eval.temperature=0"], "eval.temperature=0 gives every question one answer eval.samples=8 times"),
        (["eval.top_k=1", "eval_only=true"], "eval.top_k=1 gives every question one answer eval.samples=8 times"),
        (["base.max_resampling_rounds=2"], "base.max_resampling_rounds was set, but base.dynamic_sampling=false does"),
        (["model.lora_alpha=256"], "model.lora_alpha was set, but model.lora_rank=0 does not use it"),
        (
            ["model.similarity_layers=1-2"],
            "similarity_layers was set, but a rule that does not need visual_similarity does",
        ),
        (["shaper=vgpo", "model.similarity_layers=1-2"], "similarity_layers was set, but a rule that does not need"),
        (["rollout.cap=3"], "rollout.cap was set, but rollout.engine=hf does not use it"),
        (["rollout.url=none", "eval_only=true"], "rollout.url was set, but rollout.engine=hf does not use it"),
        (["rollout=vllm", "train.rollout_tokens=9"], "train.rollout_tokens was set, but rollout.engine=vllm"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused_with_a_sentence(words, said):
    with pytest.raises(UsageError, match=re.escape(said)) as error:
        resolved(*words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        ["model.dtype=float16", "eval_only=true"],
        ["eval.temperature=0", "eval.samples=1"],
        ["sampling.top_k=2"],
        ["sampling.temperature=0.01"],
        ["base=dapo", "base.max_resampling_rounds=2"],
        ["base.dynamic_sampling=true", "base.max_resampling_rounds=2"],
        ["model.lora_rank=4", "model.lora_alpha=256"],
        ["shaper=pepo", "model.similarity_layers=1-2"],
        ["shaper=permuted:pepo", "model.similarity_layers=2-2"],
        ["rollout=vllm", "rollout.cap=3", "rollout.url=none", "rollout.memory=0.5"],
        ["train.warmup=4", "steps=5"],
        ["sampling.group=2"],
    ],
)
def test_settings_that_do_are_not(words):
    resolved(*words)


RULE = '''"""Every token gets a share.

    A[b,t] = share * A[b]

Paper: none.
"""
from dataclasses import dataclass
from credit_zoo.registry import SHAPERS


@SHAPERS.register("{name}", paper="none")
@dataclass(frozen=True)
class Rule:
    layers: tuple[int, ...] = (1, 2)
    bounds: tuple[float, ...] = (0.0, 1.0)
    both: int = 0

    def __call__(self, x):
        return x.weighted(x.mask.float())
'''
BENCH = '''"""A benchmark without questions."""
from dataclasses import dataclass
from credit_zoo.registry import BENCHMARKS


@BENCHMARKS.register("{name}", version=1, headline="accuracy", trains_on="{name}")
@dataclass(frozen=True)
class Bench:
    twin = None
    side: str = "left"
    both: int = 0

    def load(self, split, data, skip_bad=False):
        return [], None

    def prompt(self, question):
        return question.text

    def score(self, question, response):
        raise AssertionError
'''


@pytest.fixture
def namesakes(tmp_path, monkeypatch):
    """A rule and a benchmark from two files of one name."""
    for registry in (SHAPERS, BENCHMARKS):
        monkeypatch.setattr(registry, "_entries", {name: registry[name] for name in registry})
        monkeypatch.setattr(registry, "_plugins", list(registry._plugins))
    for folder, source in (("rules", RULE), ("benches", BENCH)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "namesake.py").write_text(source.format(name="namesake"))
    return f"plugins={tmp_path}/rules,{tmp_path}/benches", "shaper=namesake", "bench=namesake"


def test_a_rule_and_a_benchmark_from_files_of_one_name_do_not_hide_each_other(namesakes):
    words = ("namesake.layers=3,4", "namesake.bounds=-inf,1,inf", "namesake.side=right")
    command = parse([*namesakes, *words])
    experiment = resolve(command)
    assert SHAPERS["namesake"].file != BENCHMARKS["namesake"].file
    assert SHAPERS["namesake"].doc.startswith("Every token") and BENCHMARKS["namesake"].doc.startswith("A benchmark")
    assert (experiment.shaper.layers, experiment.shaper.bounds) == ((3, 4), (float("-inf"), 1.0, float("inf")))
    assert benchmark(command, "namesake").side == "right"
    assert settings_of(experiment.shaper) == {"layers": (3, 4), "bounds": ("-inf", 1.0, "inf"), "both": 0}
    assert "layers = (3, 4)" in experiment.gin_text and "namesake.side = 'right'" in experiment.gin_text
    with pytest.raises(UsageError, match=r"namesake\.both may be the shaper's or the bench's"):
        resolve(parse([*namesakes, "namesake.both=1"]))
    with pytest.raises(UsageError, match=r"namesake\.layers must be values with commas between"):
        resolve(parse([*namesakes, "namesake.layers=x"]))


# --- names -------------------------------------------------------------------------------------------------------


def test_a_base_in_the_place_of_a_shaper_is_that_base_with_the_uniform_shaper():
    command = parse(["shaper=dapo"])
    assert (command.shaper, command.base) == ("uniform", "dapo")
    assert resolve(command) == resolved("shaper=uniform", "base=dapo")
    assert parse(["shaper=dapo", "base=dapo"]).base == "dapo"


def test_a_base_in_the_place_of_a_shaper_under_another_base_is_refused_with_the_shapers():
    with pytest.raises(UsageError, match="shaper=dapo names a base; with base=grpo choose one of additive, ") as error:
        parse(["shaper=dapo", "base=grpo"])
    assert all(name in str(error.value) for name in SHAPERS)


def test_benchmarks_that_train_on_one_set_are_measured_together():
    command = parse(["bench=geometry3k,mathvista"])
    assert trained_bench(command) == "geometry3k"
    assert resolve(command).train.prompts == 16


def test_benchmarks_that_train_on_different_sets_are_refused_unless_nothing_is_trained():
    words = ["bench=geometry3k,puzzles"]
    with pytest.raises(UsageError, match="geometry3k on geometry3k, puzzles on puzzles"):
        resolved(*words)
    assert parse([*words, "eval_only=true"]).bench == ("geometry3k", "puzzles")
    resolved(*words, "eval_only=true")


@pytest.mark.parametrize("seeds", ["-1", "0,0", "4294967296", "1.5", "0,", "abc"])
def test_seeds_are_different_numbers_that_every_generator_takes(seeds):
    with pytest.raises(UsageError, match="seed must be"):
        parse([f"seed={seeds}"])


def test_several_seeds_are_kept_in_their_order():
    assert parse(["seed=3,0,1"]).seeds == (3, 0, 1)


# --- gin's state -------------------------------------------------------------------------------------------------


def test_nothing_of_a_resolve_reaches_the_next_one():
    plain = resolved()
    resolved("shaper=pepo", "base=dapo", "pepo.alpha=0.7", "train.lr=0.5", "scale=8gpu", "model=qwen2_5_vl_3b")
    again = resolved()
    assert again == plain
    assert again.gin_text == plain.gin_text


def test_a_refused_resolve_leaves_nothing_behind_either():
    plain = resolved()
    for word in ("train.lr=-1", "pepo.alpha=0.3", "train.nothing=1"):
        with pytest.raises(UsageError):
            resolved("base=dapo", word)
    assert resolved().gin_text == plain.gin_text


# The type checker of the tests wraps constructors, and gin then cannot see the defaults: hence a process without it.
ROUND_TRIP = """
import gin
from test_config import pieces_of, resolved, used_by
from dataclasses import fields
for words in {words!r}:
    experiment = resolved(*words)
    wanted = {{(name, field.name) for name, piece in pieces_of(experiment).items() for field in fields(piece)}}
    assert wanted <= used_by(experiment), (words, wanted - used_by(experiment))
    gin.clear_config()
    gin.parse_config(experiment.gin_text)
    assert gin.get_configurable("experiment")() == experiment, words
"""


def test_the_operative_text_holds_every_setting_and_gives_the_experiment_back():
    words = [
        (),
        ("shaper=permuted:pepo", "permuted.seed=3", "pepo.alpha=0.2", "base=dapo", "scale=8gpu", "model=qwen2_5_vl_3b"),
        ("shaper=high_entropy", "base=dr_grpo", "high_entropy.rho=0.4"),
        ("shaper=entropy", "entropy.temperature=inf", "train.max_grad_norm=inf"),
        ("prompt.suffix=two\nlines 'and' \"quotes\" " + "long " * 60,),
    ]
    code = ROUND_TRIP.format(words=words)
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_settings_of_a_record_have_no_infinity():
    experiment = resolved("shaper=entropy", "entropy.temperature=inf")
    assert experiment.shaper.temperature == float("inf")
    assert settings_of(experiment.shaper) == {"temperature": "inf"}


# --- settings of benchmarks --------------------------------------------------------------------------------------


def test_a_benchmarks_settings_are_typed_by_its_name():
    command = parse(["bench=mathvista", "mathvista.drop_geometry3k=true", "eval_only=true"])
    assert benchmark(command, "mathvista").drop_geometry3k is True
    assert "mathvista.drop_geometry3k = 'true'" in resolve(command).gin_text
    assert benchmark(parse(["bench=mathvista"]), "mathvista").drop_geometry3k is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bench=mathvista", "mathvista.drop_geometry=true"], "nearest: drop_geometry3k|drop_geometry3k"),
        (["bench=mathvista", "mathvista.drop_geometry3k=maybe"], "mathvista.drop_geometry3k must be true or false"),
        (["bench=geometry3k", "flowers102.shots=2"], "flowers102.shots was set, but bench=geometry3k does not use it"),
        (["bench=flowers102", "flowers102.shots=3"], "flowers102.shots must be 1, 2 or 4, got 3"),
    ],
)
def test_a_benchmarks_setting_that_cannot_be_used_is_refused(words, said):
    with pytest.raises(UsageError, match=said):
        resolve(parse(words))
