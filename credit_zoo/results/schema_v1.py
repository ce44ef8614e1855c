"""Records of schema 1 in the words of schema 2, translated as they are read, so that tables read one vocabulary.

What decided their numbers (`identity`, the digests of code) is not known, so they never stand beside newer ones. They
counted tokens, rewards and accuracy of the groups that a filter had kept: where it dropped any, what they say is said
of those (`kept_...`) and what was sampled is not known.
"""

from collections.abc import Mapping
from typing import Any

_COUNTERS = {"asked": "sampled_prompts", "kept": "kept_prompts", "refills": "resampling_rounds"}
_LOOP = {"train.schedule": "train.lr_schedule"}
_BASE = {"max_refills": "max_resampling_rounds"}
_SHAPER = {"ramp": "shaper_schedule"}
# Of a step: what is a mean or a sum over responses, by the name that it has over those that were kept.
_OF_RESPONSES = {
    "reward": "kept_reward", "accuracy": "kept_accuracy", "truncated": "kept_truncated", "length": "kept_length",
    "sampled_tokens": "kept_tokens",
}  # fmt: skip


def upgraded(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a file of schema 1 as one of schema 2; what is damaged is left for the reader to refuse."""
    found = {**content, "schema": 2, "identity": None}
    for part, names in (("shaper", _SHAPER), ("base", _BASE)):
        if isinstance(found.get(part), dict):
            piece = found[part]
            found[part] = {**piece, "settings": _renamed(piece.get("settings"), names), "code": ""}
    if isinstance(found.get("training"), dict):
        found["training"] = _training(found["training"])
    if isinstance(found.get("evaluations"), list):
        found["evaluations"] = [_with(one, code="", settings={}) for one in found["evaluations"]]
    return found


def _training(training: dict[str, Any]) -> dict[str, Any]:
    found = {**training, "settings": _renamed(training.get("settings"), _LOOP)}
    found["source"] = _with(training.get("source"), code="")
    found["counters"] = _renamed(training.get("counters"), _COUNTERS)
    if isinstance(training.get("curve"), list):
        found["curve"] = [_step(entry) for entry in training["curve"]]
    if _filtered(training.get("counters")):
        found["counters"] = _with(found["counters"], kept_tokens=training.get("tokens"))
        found["tokens"] = None
    return found


def _step(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    kept = {new: entry[old] for old, new in _OF_RESPONSES.items() if old in entry}
    rest = {name: value for name, value in entry.items() if not (_filtered(entry) and name in _OF_RESPONSES)}
    return {**_renamed(rest, _COUNTERS), **(kept if "kept" in entry else {})}


def _filtered(counts: Any) -> bool:
    """Whether prompts were sampled and dropped."""
    return isinstance(counts, dict) and counts.get("asked") != counts.get("kept")


def _renamed(mapping: Any, names: Mapping[str, str]) -> Any:
    return {names.get(key, key): value for key, value in mapping.items()} if isinstance(mapping, dict) else mapping


def _with(mapping: Any, **more: Any) -> Any:
    return {**mapping, **more} if isinstance(mapping, dict) else mapping
