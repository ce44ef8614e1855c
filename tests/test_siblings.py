"""Credit from the group's own answers, against counts made by hand."""

import pytest
import torch

from credit_zoo import masked
from credit_zoo.objective import shaping
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs, TokenSignals


def inputs(ids, advantage, group=None, mask=None):
    ids = torch.tensor(ids)
    return ShaperInputs(
        advantage=torch.tensor(advantage),
        signals=TokenSignals(),
        mask=torch.ones(ids.shape, dtype=torch.bool) if mask is None else torch.tensor(mask),
        group=torch.zeros(len(ids), dtype=torch.int64) if group is None else torch.tensor(group),
        ids=ids,
        progress=1.0,
        correct=(torch.tensor(advantage) > 0).float(),
    )


def shaped(x, **settings):
    if "blend" in settings:
        settings.setdefault("blend_negative", settings["blend"])
    return shaping.shape(SHAPERS["siblings"].factory(**{"context": 0, **settings}), x)


# Three answers begin with 1, two of them go on with 2; the fourth goes its own way.
FOUR = ([[1, 2], [1, 3], [1, 2], [4, 5]], [1.0, -1.0, 1.0, -1.0])


def test_counts_by_hand():
    # At the start all four stand: mean A 0. Of the three that begin with 1 the mean is 1/3, of the one with 4 it is -1.
    # Behind 1 three stand, mean 1/3: the two with 2 have 1, so 2/3; the one with 3 has -1, so -4/3. Behind 4 one stands.
    expected = [[1 / 3, 2 / 3], [1 / 3, -4 / 3], [1 / 3, 2 / 3], [-1, 0]]
    torch.testing.assert_close(shaped(inputs(*FOUR), shrink=0.0, blend=0.0), torch.tensor(expected))


def test_means_are_shrunk_by_their_counts():
    # The sums 1, 1 and 2 over n + 1: 1/4 behind the start; 2/3 - 1/4 for the 2s; -1/2 - 1/4 for the 3; -1/2 for the 4.
    expected = [[1 / 4, 2 / 3 - 1 / 4], [1 / 4, -1 / 2 - 1 / 4], [1 / 4, 2 / 3 - 1 / 4], [-1 / 2, 0]]
    torch.testing.assert_close(shaped(inputs(*FOUR), shrink=1.0, blend=0.0), torch.tensor(expected))


def test_without_shrinkage_the_credit_of_an_answer_adds_up_to_its_advantage_where_it_becomes_the_only_one():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 3, (8, 12), generator=generator)
    assert len(ids.unique(dim=0)) == 8
    advantage = torch.randn(8, generator=generator)
    advantage -= advantage.mean()
    found = shaped(inputs(ids.tolist(), advantage.tolist()), shrink=0.0, blend=0.0)
    torch.testing.assert_close(found.sum(1), advantage, atol=1e-5, rtol=0)


def test_wrong_answers_keep_another_share_than_right_ones():
    x = inputs(*FOUR)
    found = shaped(x, blend=0.7, blend_negative=0.3)
    right, wrong = (shaped(x, blend=share) for share in (0.7, 0.3))
    torch.testing.assert_close(found, torch.where((x.advantage > 0)[:, None], right, wrong))


@pytest.mark.parametrize("context", [0, 2])
def test_answers_that_share_nothing_keep_a_share_of_uniform(context):
    ids = [[10 * row + place for place in range(5)] for row in range(1, 5)]
    x = inputs(ids, [1.0, -1.0, 0.5, -0.5])
    found = shaped(x, context=context, blend=0.3)
    # At the first token all stand together; behind it each is alone.
    torch.testing.assert_close(found[:, 1:], 0.3 * x.advantage[:, None].expand(-1, 4))


def test_a_short_context_sees_past_a_beginning_that_no_two_answers_share():
    ids = [[10 + row, 7, 8, 1 + row % 2] for row in range(4)]
    x = inputs(ids, [1.0, -1.0, 1.0, -1.0])
    whole, short = (shaped(x, context=k, shrink=0.0, blend=0.0) for k in (0, 2))
    assert torch.equal(whole[:, 1:], torch.zeros(4, 3))
    torch.testing.assert_close(short[:, 3], x.advantage)


def test_an_answer_that_comes_by_a_context_twice_is_counted_once():
    # Behind a 1: the first answer goes on with 1 and with 2, the second with 3. Two answers stand there, mean 0.
    x = inputs([[1, 1, 2], [1, 3, 3]], [1.0, -1.0])
    found = shaped(x, context=1, shrink=0.0, blend=0.0)
    torch.testing.assert_close(found[:, 1], torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(found[0, 2], torch.tensor(1.0))


def test_groups_do_not_mix():
    ids, advantage = FOUR
    both = inputs([*ids, *ids], [*advantage, *[2 * a for a in advantage]], group=[0] * 4 + [9] * 4)
    alone = shaped(inputs(ids, advantage))
    torch.testing.assert_close(shaped(both), torch.cat([alone, 2 * alone]))


def test_tokens_outside_the_mask_stand_between_no_two_others():
    ids, advantage = FOUR
    spread = [[row[0], 99 - k, row[1]] for k, row in enumerate(ids)]
    found = shaped(inputs(spread, advantage, mask=[[True, False, True]] * 4))
    torch.testing.assert_close(found[:, [0, 2]], shaped(inputs(ids, advantage)))
    assert torch.equal(found[:, 1], torch.zeros(4))


def test_a_group_that_is_all_right_teaches_nothing():
    x = inputs(FOUR[0], [0.0] * 4)
    assert not masked.total(shaped(x).abs(), x.mask).any()
