"""The closed form against all sequences there are, the gradients of rules, and the command from start to resumption."""

import dataclasses
import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from records import a_credit_record, estimate
from steps import pictures

from credit_zoo.credit import forest
from credit_zoo.credit.drawing import Solved, credit_of, measure, open_bench
from credit_zoo.credit.estimates import Estimate
from credit_zoo.credit.gradients import coefficients, rule_gradients
from credit_zoo.credit.instrument import measure_all, run_credit
from credit_zoo.credit.measuring import Instrument, trained_part
from credit_zoo.credit.one_token import OneToken
from credit_zoo.credit.page import page
from credit_zoo.credit.projection import Projection, second_moment_scale
from credit_zoo.credit.record import Way, load, load_all
from credit_zoo.credit.record import save as save_record
from credit_zoo.credit.settings import Credit, rule_names
from credit_zoo.credit.summary import summarise
from credit_zoo.credit.text import record_text
from credit_zoo.credit.true_gradient import true_gradient
from credit_zoo.credit.verdicts import judged
from credit_zoo.credit.workspace import Workspace, load_arrays
from credit_zoo.errors import UsageError
from credit_zoo.policy.batch_layout import BatchLayout
from credit_zoo.policy.policy import ModelConfig, Policy
from credit_zoo.policy.shared_prefix import prompt_cache
from credit_zoo.question import Question, Score
from credit_zoo.questions.prompt_format import PromptConfig
from credit_zoo.registry import SHAPERS
from credit_zoo.rollout.sampling import SamplingParams, sample
from credit_zoo.rollout.worker import RolloutWorker
from credit_zoo.truth.exact_values import token_advantage, values_of
from credit_zoo.truth.monte_carlo import continued, sampled_values
from credit_zoo.types import RolloutBatch

# Two tokens may follow each other, and three make a response: eight sequences, all of which can be written down.
WIDTH, LENGTH = 2, 3
TOY = SamplingParams(group=4, top_k=WIDTH, max_tokens=LENGTH)


# --- a toy whose every sequence is enumerated -----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Toy:
    """All sequences of a policy that lets two tokens follow each other, with their log-probabilities and gradient."""

    policy: Policy
    prompts: object
    ids: torch.Tensor  # [8, 3]
    logp: torch.Tensor  # [8, 3]

    @property
    def chance(self):
        return self.logp.sum(1).exp()

    def value(self, solution, prefix):
        """The chance of the solution among the sequences that begin so, by counting them."""
        begins = torch.tensor([row[: len(prefix)] == prefix for row in self.ids.tolist()])
        right = torch.tensor([row == solution for row in self.ids.tolist()])
        return (self.chance * (begins & right)).sum() / (self.chance * begins).sum()


def next_tokens(policy, prompts, prefix):
    """The tokens that may come next, and their log-probabilities, from the logits of the whole text."""
    read = policy.read_prompts(continued(prompts, [0], [prefix], policy.encoder.pad_token), prompt_cache())
    logits = policy.finish_logits(policy.model.get_output_embeddings()(read.hidden[:, -1]), 1.0)
    top = logits[0].topk(WIDTH)
    return top.indices.tolist(), top.values.log_softmax(-1)


@pytest.fixture
def toy(tiny):
    # A stop token that cannot be drawn: every sequence is as long as the limit.
    tiny.encoder = dataclasses.replace(tiny.encoder, stops=(tiny.encoder.image_token,))
    prompts = tiny.encoder.prompts([(pictures(1)[0], "find the area")])
    ways = [([], [])]
    for _ in range(LENGTH):
        grown = []
        for ids, logp in ways:
            grown += [
                ([*ids, token], [*logp, one]) for token, one in zip(*next_tokens(tiny, prompts, ids), strict=True)
            ]
        ways = grown
    return Toy(
        tiny, prompts, torch.tensor([ids for ids, _ in ways]), torch.stack([torch.stack(logp) for _, logp in ways])
    )


def likely(toy):
    """The sequence of the highest probability, as the solution."""
    return toy.ids[int(toy.chance.argmax())].tolist()


def everything(toy):
    """All sequences as responses."""
    count = len(toy.ids)
    return BatchLayout(
        toy.prompts, torch.zeros(count, dtype=torch.int64), toy.ids, torch.ones_like(toy.ids, dtype=torch.bool)
    )


def exact(toy, solution):
    ids = torch.tensor([solution])
    return values_of(toy.policy, toy.prompts, ids, torch.ones_like(ids, dtype=torch.bool), TOY)


def test_the_sequences_of_the_toy_are_all_there_are(toy):
    assert len(toy.ids) == WIDTH**LENGTH
    assert float(toy.chance.sum()) == pytest.approx(1, abs=1e-5)


def test_the_closed_form_of_a_value_is_the_sum_over_all_sequences(toy):
    solution = likely(toy)
    counted = [float(toy.value(solution, solution[:length])) for length in range(LENGTH + 1)]
    assert exact(toy, solution).value[0].tolist() == pytest.approx(counted, abs=1e-5)


def test_the_advantage_of_a_token_is_the_change_of_the_counted_value(toy):
    solution, rows = likely(toy), everything(toy)
    right = torch.tensor([float(row == solution) for row in toy.ids.tolist()])
    found = token_advantage(exact(toy, solution), rows.row_of, toy.ids, rows.mask, right)
    for row, ids in enumerate(toy.ids.tolist()):
        values = [float(toy.value(solution, ids[:length])) for length in range(LENGTH + 1)]
        assert found[row].tolist() == pytest.approx([after - before for before, after in pairwise(values)], abs=1e-5)


def flat(gradients, parameters):
    pairs = zip(gradients, parameters, strict=True)
    return torch.cat([torch.zeros_like(like).flatten() if one is None else one.flatten() for one, like in pairs])


def counted_gradient(toy, solution, parameters):
    """The gradient of the counted value of the question."""
    return flat(torch.autograd.grad(toy.value(solution, []), parameters, allow_unused=True), parameters)


def test_the_exact_gradient_is_that_of_the_counted_value(toy):
    solution, parameters = likely(toy), trained_part(toy.policy, "")
    wanted = counted_gradient(toy, solution, parameters)
    ids = torch.tensor([solution])
    solved = Solved(toy.prompts, ids, torch.ones_like(ids, dtype=torch.bool))
    found, value = true_gradient(toy.policy, solved, TOY, Projection(parameters, 0, 0), 4)
    assert float(value[0]) == pytest.approx(float(toy.value(solution, [])), abs=1e-5)
    assert (found[0] - wanted).norm() < 1e-4 * wanted.norm()


def test_exact_credit_averaged_over_all_sequences_is_the_exact_gradient(toy):
    """Policy gradients by hand: sum over sequences of their chance times sum_t A*_t d logp_t."""
    solution, rows, parameters = likely(toy), everything(toy), trained_part(toy.policy, "")
    right = torch.tensor([float(row == solution) for row in toy.ids.tolist()])
    advantage = token_advantage(exact(toy, solution), rows.row_of, toy.ids, rows.mask, right)
    given = {
        "oracle": toy.chance.detach()[:, None] * advantage,
        "uniform": (toy.chance.detach() * right)[:, None] + 0 * advantage,
    }
    found = rule_gradients(toy.policy, rows, TOY, given, Projection(parameters, 0, 0), 3)
    wanted = counted_gradient(toy, solution, parameters)
    for name in given:
        assert (found[name][0] - wanted).norm() < 1e-3 * wanted.norm(), name


class Exactly:
    """A benchmark on which one text is right."""

    twin = None

    def __init__(self, text):
        self.text = text

    def load(self, split, data, skip_bad=False):
        raise AssertionError("has no files")

    def prompt(self, question):
        return question.text

    def score(self, question, response):
        return Score(float(response == self.text), response, True)


def toy_batch(toy, solution, ids):
    """These sequences as the answers that were sampled."""
    decoded = toy.policy.encoder.decode(ids, torch.ones_like(ids, dtype=torch.bool))
    (wanted,) = toy.policy.encoder.decode(torch.tensor([solution]), torch.ones(1, LENGTH, dtype=torch.bool))
    drawn = sample(toy.policy, toy.prompts, dataclasses.replace(TOY, group=len(ids)), torch.Generator().manual_seed(0))
    rows = {tuple(row): logp for row, logp in zip(toy.ids.tolist(), toy.logp.detach(), strict=True)}
    drawn = dataclasses.replace(drawn, ids=ids, logp=torch.stack([rows[tuple(row)] for row in ids.tolist()]))
    right = torch.tensor([float(text == wanted) for text in decoded])
    worker = RolloutWorker(toy.policy, Exactly(toy.policy.encoder.opened + wanted), PromptConfig(style="short"))
    return worker, RolloutBatch(toy.prompts, drawn, drawn.row_of, right, right, {"accuracy": right})


def test_values_by_sampling_are_the_exact_ones_within_their_errors(toy):
    solution = likely(toy)
    worker, batch = toy_batch(toy, solution, toy.ids)
    question = [Question("q", pictures(1)[0], "find the area", "", "text")]
    rows = list(range(len(toy.ids)))
    found = sampled_values(worker, question, batch, rows, TOY, continuations=200, certain=1.0)
    for row, ids in enumerate(toy.ids.tolist()):
        for length in range(LENGTH):
            true = float(toy.value(solution, ids[:length]))
            error = max((true * (1 - true) / 200) ** 0.5, 1e-3)
            assert abs(float(found.value[row, length]) - true) < 4 * error, (ids, length)
        assert float(found.value[row, LENGTH]) == float(batch.correct[row])
    assert bool(found.fresh[:, :LENGTH].all())


def test_values_by_sampling_depend_neither_on_their_neighbours_nor_on_how_many_are_continued_at_once(toy):
    solution = likely(toy)
    worker, batch = toy_batch(toy, solution, toy.ids)
    question = [Question("q", pictures(1)[0], "find the area", "", "text")]
    options = {"sampling": TOY, "continuations": 8}
    whole = sampled_values(worker, question, batch, [0, 3, 5], **options, together=16)
    alone = sampled_values(worker, question, batch, [5], **options, together=1)
    assert torch.equal(whole.value[2], alone.value[0])


def test_a_token_that_had_to_come_leaves_the_value_as_it_was(toy):
    worker, batch = toy_batch(toy, likely(toy), toy.ids)
    question = [Question("q", pictures(1)[0], "find the area", "", "text")]
    found = sampled_values(worker, question, batch, [0], TOY, continuations=4, certain=0.0)
    assert found.fresh[0].tolist() == [True, False, False, False]
    assert found.advantage[0, : LENGTH - 1].tolist() == [0.0, 0.0]


# --- gradients of rules ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    policy = Policy.load(ModelConfig()).eval()
    settings = Credit(prompts=3, group=4, max_tokens=40)
    bench = open_bench(settings, policy)
    return bench, measure(bench, bench.draw(0), ("entropy", "visual_similarity"))


def gradients(bench, measured, names, micro_batch=16, projection=None):
    x = measured.inputs
    given = {name: coefficients(bench.base, measured.logp, credit_of(name, measured), x.mask, 40) for name in names}
    projection = projection or Projection(trained_part(bench.policy, ""), 0, 0)
    return rule_gradients(bench.policy, measured.rows, bench.sampling, given, projection, micro_batch)


def test_the_gradient_of_uniform_is_that_of_the_loss(small):
    bench, measured = small
    x, parameters = measured.inputs, trained_part(bench.policy, "")
    logp = bench.policy(measured.rows, 1.0).logp
    length = x.mask.sum(1, keepdim=True)
    loss = -((x.advantage[:, None] * torch.where(x.mask, logp, 0.0)) / length).sum() / len(length)
    wanted = -flat(torch.autograd.grad(loss, parameters, allow_unused=True), parameters)
    (found,) = gradients(bench, measured, ["uniform"]).values()
    assert (found[0] - wanted).norm() < 1e-5 * wanted.norm()


def test_a_gradient_does_not_depend_on_how_the_batch_is_cut(small):
    bench, measured = small
    names = ["uniform", "pepo", "entropy", "oracle_exact"]
    whole, cut = gradients(bench, measured, names, 64), gradients(bench, measured, names, 1)
    for name in names:
        assert (whole[name][0] - cut[name][0]).norm() < 1e-5 * whole[name][0].norm(), name


def test_a_shuffle_of_uniform_is_uniform_and_costs_no_pass(small, monkeypatch):
    bench, measured = small
    assert torch.equal(credit_of("permuted(uniform)", measured), credit_of("uniform", measured))
    passes, real = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: passes.append(1) or real(*a, **k))
    gradients(bench, measured, ["uniform"])
    alone = len(passes)
    found = gradients(bench, measured, ["uniform", "permuted(uniform)"])
    assert len(passes) - alone == alone + 1  # one more for the second rule's coefficients, none for its gradient
    assert torch.equal(found["uniform"], found["permuted(uniform)"])


def test_a_projection_keeps_products_within_the_error_that_it_tells(small):
    bench, measured = small
    parameters, names = trained_part(bench.policy, ""), ["uniform", "entropy"]
    whole = gradients(bench, measured, names)
    short = gradients(bench, measured, names, projection=Projection(parameters, 2**14, 0))
    for one, other in (("uniform", "uniform"), ("uniform", "entropy")):
        true, found = float(whole[one][0] @ whole[other][0]), float(short[one][0] @ short[other][0])
        assert abs(found - true) < 4 * (2 / 2**14) ** 0.5 * float(whole[one][0].norm() * whole[other][0].norm())
    assert short["uniform"].shape == (2, 2**14)


def test_in_the_geometry_of_adam_every_number_is_divided_by_the_root_of_its_second_moment(small):
    bench, measured = small
    parameters = trained_part(bench.policy, "")
    moment = [torch.full_like(one, 4.0) for one in parameters]
    projection = Projection(parameters, 0, 0, second_moment_scale(moment))
    (found,) = gradients(bench, measured, ["uniform"], projection=projection).values()
    assert torch.allclose(found[1], found[0] / (4 * 1.01) ** 0.5)


def test_a_named_part_of_the_parameters_is_measured_alone_and_an_unknown_one_refused(small):
    policy = small[0].policy
    assert len(trained_part(policy, "layers.0.,norm")) < len(trained_part(policy, ""))
    with pytest.raises(UsageError, match="layers=nowhere names no trained parameter"):
        trained_part(policy, "nowhere")


# --- rules ----------------------------------------------------------------------------------------------------------


def test_rules_are_named_with_commas_inside_brackets_and_shuffles_come_on_request():
    assert rule_names(Credit(shapers="mean(pepo,entropy),permuted:pepo"), True) == (
        *("uniform", "mean(pepo,entropy)", "permuted(pepo)"),
    )
    named = rule_names(Credit(shapers="pepo,oracle_exact", nulls=True), True)
    assert named == ("uniform", "pepo", "oracle_exact", "permuted(pepo)")
    assert set(rule_names(Credit(), True)) == set(SHAPERS)


def test_without_a_twin_controls_that_need_the_truth_are_left_out_and_refused_by_name():
    assert "oracle_exact" not in rule_names(Credit(), False)
    assert "random_sparse" in rule_names(Credit(), False)
    with pytest.raises(UsageError, match="'oracle_exact' needs the truth"):
        rule_names(Credit(shapers="oracle_exact"), False)


# --- the command ----------------------------------------------------------------------------------------------------


def command(tmp_path, **settings):
    made = Credit(
        prompts=2, group=4, batches=4, reference=4, truth=16, work=str(tmp_path / "work"), out=str(tmp_path / "out")
    )
    run_credit(dataclasses.replace(made, **settings))
    (path,) = (tmp_path / "out").glob("*.json")
    return load(path)


KEEPING = [name for name in SHAPERS if SHAPERS[name].facts.preserves_mean]


def test_where_one_token_is_drawn_the_gradients_of_all_rules_that_keep_the_mean_are_one(small):
    settings = dataclasses.replace(small[0].settings, forced=True, prompts=4, perception=0.5)
    bench = open_bench(settings, small[0].policy, OneToken)
    batch = bench.draw(0)
    assert batch.responses.mask.shape == (16, 1) and 0 < float(batch.correct.mean()) < 1
    measured = measure(
        bench, batch, {need for name in KEEPING for need in (*SHAPERS[name].facts.measured, *SHAPERS[name].facts.text)}
    )
    found = gradients(bench, measured, KEEPING)
    assert len(found) >= 8 and found["uniform"].any()
    for name, gradient in found.items():
        assert (gradient - found["uniform"]).norm() <= 1e-5 * found["uniform"].norm(), name


@pytest.mark.slow
def test_where_one_token_is_drawn_all_rules_tie_that_keep_the_mean(tmp_path):
    record = command(tmp_path, forced=True, shapers=",".join(KEEPING), nulls=True, prompts=4)
    assert record.length == 1 and 0 < record.accuracy < 1
    for one in record.rules:
        assert one.numbers["efficiency"].value == pytest.approx(1, abs=1e-5), one.name
        assert one.numbers["adam_efficiency"].value == pytest.approx(1, abs=1e-5), one.name


@pytest.mark.slow
def test_the_command_goes_on_where_it_stopped_and_adds_rules_to_the_same_batches(tmp_path, capsys):
    first = command(tmp_path, shapers="pepo")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*") if path.is_file()}
    again = command(tmp_path, shapers="pepo,oracle_exact")
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    for name in ("uniform", "pepo"):
        before, after = (next(one for one in record.rules if one.name == name) for record in (first, again))
        assert before.numbers == after.numbers
    assert [one.name for one in again.rules] == ["uniform", "pepo", "oracle_exact"]
    uniform = again.rules[0].numbers["efficiency"]
    assert (uniform.value, uniform.error) == (1.0, 0.0)
    assert "uniform's noise: sampling" in capsys.readouterr().out
    third = command(tmp_path, shapers="entropy")  # a record keeps the rules that it has
    assert [one.name for one in third.rules] == ["uniform", "entropy", "pepo", "oracle_exact"]


@pytest.mark.slow
def test_without_a_twin_the_direction_is_uniforms_own_on_other_batches(tmp_path, small):
    bench = dataclasses.replace(small[0], twin=None, settings=Credit(prompts=2, group=4, batches=4, reference=4))
    instrument = Instrument(bench, Workspace(tmp_path), ("uniform", "entropy"))
    assert measure_all(instrument, 0.0) == 4
    found = summarise(instrument, 4).fields
    assert found["direction"] == "uniform's gradient of other batches" and found["way"] is None
    numbers = {one.name: one.numbers for one in found["rules"]}
    assert numbers["uniform"]["efficiency"].value == 1
    assert numbers["entropy"]["efficiency"].error > 0 and "decisive" not in numbers["entropy"]


def test_too_few_minutes_are_told_with_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="the same words again go on from here"):
        command(tmp_path, shapers="pepo", minutes=1e-9)


@pytest.mark.slow
def test_values_by_sampling_stand_beside_the_closed_form(tmp_path):
    record = command(tmp_path, shapers="oracle_exact", mc=8, mc_responses=4, mc_every=8)
    assert set(record.monte_carlo) == {"difference", "distance", "sampling_error", "sign", "same_token"}
    assert "mc_rank_wrong" in record.rules[1].numbers


@pytest.mark.slow
def test_controls_get_values_by_sampling_where_a_solution_is_not_the_only_way(tmp_path):
    record = command(tmp_path, shapers="oracle_exact", truth_by="sampling", mc=4, prompts=1)
    assert record.title.endswith("A* of 4 continuations") and not record.monte_carlo
    for path in (tmp_path / "work").rglob("tokens.npz"):
        tokens = load_arrays(path)
        gained = tokens["correct"] - tokens["truth_advantage"].sum(1)  # what the empty prefix was worth
        assert abs(4 * gained - (4 * gained).round()).max() < 1e-4 and gained.min() >= -1e-4
        assert gained.max() - gained.min() < 1e-4  # one question, one value


def test_values_by_sampling_need_continuations():
    with pytest.raises(UsageError, match="give mc=16"):
        Credit(truth_by="sampling")
    assert not {"truth_by", "length"} & set(Credit().setup) and Credit(length=1.0).setup["length"] == 1
    assert Credit(truth_by="sampling", mc=16).setup["mc"] == 16


# --- the page -------------------------------------------------------------------------------------------------------


PAGE = Path(__file__).parents[1] / "leaderboard" / "CREDIT.md"


def test_a_record_is_read_as_it_was_written_and_holes_stay_holes(tmp_path):
    broken = dataclasses.replace(a_credit_record().rules[0], numbers={"cosine": Estimate(1.0, float("inf"), -1.0, 1.0)})
    save_record(a_credit_record(rules=(broken,)), tmp_path / "one.json")
    assert load(tmp_path / "one.json").rules[0].numbers == {"cosine": None}
    save_record(a_credit_record(), tmp_path / "one.json")
    assert load(tmp_path / "one.json") == a_credit_record()


def test_the_page_has_a_row_for_every_rule_and_controls_behind_them():
    text = page([a_credit_record()], None)
    overview = text.partition("## Efficiency, times uniform")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0].strip("| ") for line in overview.splitlines() if line.startswith("| ")][2:]
    assert rows == ["uniform", "entropy", "oracle_exact (control)"]
    (_, entropy) = (line for line in text.splitlines() if line.startswith("| entropy |"))
    assert "0.900 [0.800, 1.000]" in entropy and "1.010 [0.910, 1.110]" in entropy  # its shuffle stands beside it
    assert "18.0% of right answers came another way" in text


def test_the_page_and_the_picture_follow_from_the_records_alone(tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("one.svg", "two.svg"):
        forest.draw([a_credit_record(), a_credit_record(note="other")], tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    records = load_all(PAGE.parent / "credit")
    assert PAGE.read_text("utf-8") == page(records, "credit.svg" if any(one.sees for one in records) else None)


def test_where_uniform_has_no_signal_of_its_own_nothing_is_told_of_any_rule():
    rules = a_credit_record().rules
    blind = dataclasses.replace(rules[0], numbers={**rules[0].numbers, "snr": Estimate(0.001, 0.005, -0.01, 0.012)})
    unseen = a_credit_record(rules=(blind, *rules[1:]), note="unseen")
    assert a_credit_record().sees and not unseen.sees and judged(unseen) == {} != judged(a_credit_record())
    overview, _, sections = page([a_credit_record(), unseen], None).partition("\n## geometry3k")
    assert "unseen" not in overview and "unseen" in sections and "noise over noise" in sections


def test_a_share_that_there_is_none_of_is_a_dash_in_the_terminal():
    lost = Estimate(-float("inf"), float("nan"), float("nan"), float("nan"))
    rule = dataclasses.replace(
        a_credit_record().rules[0], name="nothing", numbers={"efficiency": estimate(0.0), "removed": lost}
    )
    text = record_text(a_credit_record(rules=(rule,)))
    assert "inf" not in text and "nan" not in text and text.splitlines()[-1].split()[4] == "-"


def test_where_most_right_answers_come_another_way_the_table_is_along_uniform():
    numbers = {"efficiency": estimate(91.0), "by_uniform_efficiency": estimate(0.7), "adam_efficiency": estimate(43.0)}
    oracle = dataclasses.replace(a_credit_record().rules[-1], numbers=numbers)
    record = a_credit_record(way=Way(1e-6, 0.31, 0.99, {}), rules=(*a_credit_record().rules[:-1], oracle))
    assert (a_credit_record().headline, record.headline) == ("efficiency", "by_uniform_efficiency")
    told = page([record], None)
    assert "(along uniform)" in told and "0.700" in told and "91.0" not in told and "43.0" not in told
    assert "0.700" in record_text(record) and "91.0" not in record_text(record)


def test_a_damaged_record_is_named(tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"schema": 1}))
    with pytest.raises(UsageError, match=r"one\.json is not a record of the instrument"):
        load(path)
