"""What goes with what: the table for every pair of the registry, the page that shows it, and a step of each pair."""

import dataclasses

import pytest
import rules_and_bases
import torch
from conftest import tiny_policy
from steps import batch, given, trainer

from credit_zoo.cli.arguments import parse
from credit_zoo.errors import UsageError
from credit_zoo.experiment.config import resolve
from credit_zoo.facts import UPDATE_SIGNAL, ShaperFacts
from credit_zoo.objective import compatibility
from credit_zoo.objective.base import Base
from credit_zoo.objective.compatibility import Budget, refusal
from credit_zoo.objective.policy_losses import SelectingLoss
from credit_zoo.registry import LOSSES, PIECES, RATIOS, SHAPERS
from credit_zoo.training.step import before_updates, prepare, update

BASES = rules_and_bases.bases()
BUDGETS = (Budget(8, 1), Budget(8, 2), Budget(1, 1))
SIGNED = sorted(name for name in SHAPERS if SHAPERS[name].facts.preserves_sign)
BOTH = sorted(name for name in SHAPERS if not SHAPERS[name].facts.preserves_sign)


def test_the_page_is_up_to_date():
    assert rules_and_bases.PAGE.read_text("utf-8") == rules_and_bases.page(), "run python tests/rules_and_bases.py"


def test_uniform_goes_with_everything():
    assert {rules_and_bases.verdict("uniform", base) for base in BASES.values()} == {"yes"}


@pytest.mark.parametrize("shaper", SHAPERS)
def test_no_rule_but_uniform_goes_with_a_ratio_that_erases_its_credit(shaper):
    found = rules_and_bases.verdict(shaper, BASES[rules_and_bases.PLAIN_GSPO])
    assert found == ("yes" if shaper == "uniform" else "no")


@pytest.mark.parametrize("shaper", SIGNED)
def test_a_rule_that_keeps_signs_goes_with_every_base_whose_pieces_keep_token_credit(shaper):
    wanted = "2+ updates" if SHAPERS[shaper].facts.stage == "update" else "yes"
    found = {name: rules_and_bases.verdict(shaper, base) for name, base in BASES.items()}
    del found[rules_and_bases.PLAIN_GSPO]
    assert set(found.values()) == {wanted}


@pytest.mark.parametrize("shaper", BOTH)
def test_a_rule_of_both_signs_is_not_clipped_by_whole_responses(shaper):
    found = {name: rules_and_bases.verdict(shaper, base) for name, base in BASES.items()}
    one_verdict = "no" if SHAPERS[shaper].facts.stage == "update" else "1 update"
    assert found["gspo"] == one_verdict
    assert found["grpo"] in ("yes", "2+ updates")


@pytest.mark.parametrize("shaper", [*SHAPERS, "permuted(pepo)", "position_only(entropy)", "mean(pepo,additive)"])
def test_every_refusal_is_one_sentence_that_names_rule_and_piece(shaper):
    for base in BASES.values():
        for budget in BUDGETS:
            said = refusal(shaper, base, budget)
            if said is not None:
                pieces = [f"base.{slot}={PIECES[slot].of(getattr(base, slot)).name}" for slot in PIECES]
                assert said.startswith(f"shaper={shaper} ") and any(piece in said for piece in pieces)
                assert "\n" not in said and ". " not in said


@pytest.mark.parametrize(
    ("facts", "budget", "said"),
    [
        (ShaperFacts("none", scope="group"), Budget(1, 1), "with sampling.group=1 under base.estimator=grpo"),
        (ShaperFacts("none", scope="group"), Budget(2, 1), None),
        (ShaperFacts("none", scope="batch"), Budget(1, 1), None),
        (ShaperFacts("none", needs=(UPDATE_SIGNAL,), stage="update"), Budget(8, 1), "train.updates=1 under base.ratio"),
        (ShaperFacts("none", needs=(UPDATE_SIGNAL,), stage="update"), Budget(8, 2), None),
    ],
)
def test_rules_by_what_they_declare(monkeypatch, facts, budget, said):
    """Declared so or so, a rule is judged so or so, whatever its name."""
    entry = dataclasses.replace(SHAPERS["pepo"], facts=facts)
    monkeypatch.setattr(compatibility, "SHAPERS", {"made": entry})
    found = refusal("made", Base(), budget)
    assert found is None if said is None else said in found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shaper=pepo", "base.ratio=gspo"], "shaper=pepo tells tokens apart and base.ratio=gspo moves all tokens"),
        (
            ["shaper=position_only:pepo", "base=gspo", "train.updates=2"],
            "shaper=position_only(pepo) may give tokens of one response credit of both signs, and after the first",
        ),
    ],
)
def test_a_pair_that_does_not_go_together_is_refused_before_the_run(words, said):
    with pytest.raises(UsageError) as error:
        resolve(parse(words))
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    "words",
    [
        ["shaper=pepo", "base=gspo", "train.updates=4"],
        ["base.ratio=gspo"],
        ["shaper=position_only:pepo", "base=gspo"],
        ["base=reinforce_pp", "sampling.group=1"],
        ["shaper=high_entropy", "base=reinforce_pp", "sampling.group=1"],
        ["shaper=high_entropy", "base=clip_cov", "train.updates=2"],
    ],
)
def test_pairs_that_do_are_not(words):
    resolve(parse(words))


# What pieces declare --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ratio", RATIOS)
def test_a_ratio_keeps_token_credit_exactly_if_tokens_of_unequal_advantages_get_unequal_gradients(ratio):
    logp = torch.zeros(1, 3, requires_grad=True)
    mask = torch.ones(1, 3, dtype=torch.bool)
    log_ratio = RATIOS[ratio].factory()(logp, torch.zeros(1, 3), mask)
    (log_ratio.exp() * torch.tensor([[1.0, 2.0, 6.0]])).sum().backward()
    keeps = RATIOS[ratio].facts.keeps_token_credit
    assert logp.grad.tolist() == ([[1, 2, 6]] if keeps else [[3, 3, 3]])


@pytest.mark.parametrize("ratio", RATIOS)
def test_a_ratio_that_gives_one_verdict_has_one_value_for_all_tokens(ratio):
    logp, mask = torch.tensor([[0.1, -0.4, 0.6]]), torch.ones(1, 3, dtype=torch.bool)
    log_ratio = RATIOS[ratio].factory()(logp, torch.zeros(1, 3), mask)
    assert (log_ratio.unique().numel() == 1) is RATIOS[ratio].facts.one_verdict


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_that_selects_says_that_it_must_see_the_whole_step(loss):
    assert isinstance(LOSSES[loss].factory(), SelectingLoss) is (LOSSES[loss].facts.scope == "batch")


# A step of each pair --------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def sampled():
    """One step's responses, two prompts of four."""
    return batch(tiny_policy(), count=2, group=4, length=6)


@pytest.mark.parametrize("shaper", SHAPERS)
def test_every_pair_that_goes_together_takes_a_step(tiny, sampled, shaper):
    """The loss and every number of it are finite, and there is a gradient."""
    made = trainer(tiny, shaper)
    for name, base in BASES.items():
        budget = next((one for one in (Budget(4, 1), Budget(4, 2)) if refusal(shaper, base, one) is None), None)
        if budget is None:
            continue
        schedule = dataclasses.replace(made.train, updates=budget.updates)
        t = dataclasses.replace(made, base=base, train=schedule)
        step = before_updates(t, prepare(t, sampled, 0.5, given=given(t, sampled)))
        done = [update(t, step, 1e-6) for _ in range(budget.updates)]
        assert all(torch.isfinite(torch.tensor([one.loss, one.grad_norm])).all() for one in done), (shaper, name)
        assert done[-1].grad_norm > 0, (shaper, name)
