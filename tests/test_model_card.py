"""The card of a trained policy is what a hub reads: its metadata come back, and its numbers are those of the record."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from records import a_record, an_evaluation

from credit_zoo.experiment.model_card import licence_of, model_card, write_card
from credit_zoo.policy.policy import ModelConfig
from credit_zoo.results.record import Piece


@pytest.fixture
def record():
    return a_record("pepo", 3, shaper=Piece("pepo", {"alpha": 0.05}, "c0de"))


def test_the_metadata_are_read_back_with_every_number(record):
    card = ModelCard(model_card(record, "apache-2.0", "own/small"))
    (result,) = card.data.eval_results
    assert (card.data.license, card.data.base_model) == ("apache-2.0", "own/small")
    assert ModelCard(model_card(record, "apache-2.0", "small")).data.base_model is None, "no hub has it"
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("geometry3k (twin)", "accuracy", 50.0)
    low, high = result.metric_args["interval_95"]
    assert low < 50 < high and result.metric_args["questions"] == 4
    assert "credit-assignment" in card.data.tags


def test_the_text_says_what_was_done_and_how_to_repeat_it(record):
    text = model_card(record, "apache-2.0", "small")
    assert "- credit rule: `pepo (alpha=0.05)`: " in text and "arXiv" in text
    assert "- base: `grpo (clip=0.2)`" in text
    assert "- trained on: geometry3k (twin, twin-1), 2 steps, seed 3" in text
    assert "    python -m credit_zoo.run credit_zoo.run shaper=pepo" in text, "the words of the record"
    assert "| geometry3k (twin) | 4 | 2 | 25.0 [" in text and "| 50.0 [" in text


def test_a_measurement_without_one_before_has_a_blank(record):
    only = replace(record, evaluations=(an_evaluation(bench="mathvista"),))
    assert "| mathvista (twin) | 4 | 2 |  | 50.0 [" in model_card(only, "mit", "small")


def test_the_licence_is_that_of_the_base_model_and_never_made_up(record, tmp_path):
    assert licence_of(ModelConfig("small")) == licence_of(ModelConfig("habits")) == "apache-2.0"
    assert licence_of(ModelConfig(str(tmp_path))) is None
    card = ModelCard(model_card(record, None, str(tmp_path)))
    assert card.data.license == "other" and card.data.base_model is None
    assert str(tmp_path) not in str(card), "where it lay on one machine says nothing on another"
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    assert licence_of(ModelConfig(str(tmp_path))) == "mit"
    (tmp_path / "README.md").write_text("no metadata\n")
    assert licence_of(ModelConfig(str(tmp_path))) is None


def test_a_card_of_ours_tells_the_licence_of_what_is_trained_from_it(record, tmp_path):
    path = write_card(record, ModelConfig("small"), tmp_path)
    assert path == tmp_path / "README.md"
    assert licence_of(ModelConfig(str(tmp_path))) == "apache-2.0"
