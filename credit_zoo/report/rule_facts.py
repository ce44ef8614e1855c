"""What a rule says of itself: its docstring in parts, what it declares, its settings."""

import re
from dataclasses import dataclass
from textwrap import dedent

from credit_zoo.cli import Setting, settings_in_file
from credit_zoo.facts import ShaperFacts
from credit_zoo.registry import SHAPERS
from credit_zoo.rule_names import canonical, parts_of
from credit_zoo.sampled_signals import passes_beside_sampling
from credit_zoo.types import SIGNALS

_SCOPES = {
    "response": "a response's credit depends on that response alone",
    "group": "it looks at all answers to the same question",
    "batch": "it looks at all answers of the step, over all processes",
}
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


@dataclass(frozen=True)
class RuleFacts:
    """A rule as its page tells it. `equation` is the first indented block of the docstring, `notes` the paragraphs
    behind it; `facts` are pairs of a word and what it means; `paper` is where the rule comes from, `url` its page.
    """

    name: str
    summary: str
    equation: str
    notes: tuple[str, ...]
    paper: str
    url: str
    control: bool
    facts: tuple[tuple[str, str], ...]
    settings: tuple[Setting, ...]


def rule_facts(name: str) -> RuleFacts:
    """Everything a page tells of a rule, or of a combination of rules."""
    name = canonical(name)
    entry = SHAPERS[name]
    summary, equation, notes = docstring_parts(entry.doc)
    single = not parts_of(name)[1]
    return RuleFacts(
        name=name,
        summary=summary,
        equation=equation,
        notes=notes,
        paper=entry.facts.paper,
        url=paper_url(entry.facts.paper),
        control=entry.facts.control,
        facts=tuple(_facts(entry.facts)),
        settings=settings_in_file(entry.file) if single else (),
    )


def docstring_parts(doc: str) -> tuple[str, str, tuple[str, ...]]:
    """The first line, the first indented block, and the paragraphs beside it."""
    first, _, rest = doc.strip().partition("\n")
    blocks = [block for block in re.split(r"\n\s*\n", rest) if block.strip()]
    equations = [block for block in blocks if block.lstrip("\n").startswith("    ")]
    notes = tuple(" ".join(block.split()) for block in blocks if block not in equations[:1])
    return first, dedent(equations[0].strip("\n")) if equations else "", notes


def paper_url(paper: str) -> str:
    """The page of a paper on arXiv; "" for one that is not there."""
    found = _ARXIV.search(paper)
    return f"https://arxiv.org/abs/{found[1]}" if found else ""


def _facts(facts: ShaperFacts) -> list[tuple[str, str]]:
    signals = [f"{name}: {SIGNALS[name]}" for name in facts.needs]
    return [
        ("needs", "; ".join(signals) or "nothing but the responses"),
        ("scope", f"{facts.scope}: {_SCOPES[facts.scope]}"),
        ("stage", _stage(facts)),
        ("extra passes", _passes(facts)),
        ("promises", "; ".join(_promises(facts)) or "none"),
        ("reduces to", _reduction(facts)),
        ("reference code", facts.reference or "none"),
        ("ranked", "no: a control, which knows what no method knows or is a null" if facts.control else "yes"),
    ]


def _passes(facts: ShaperFacts) -> str:
    beside = passes_beside_sampling(facts)
    otherwise = f" ({facts.extra_passes} where another engine samples, or in half precision)"
    return (
        f"{beside} without gradient, beside the pass that is learned from"
        f"{otherwise if beside < facts.extra_passes else ''}"
    )


def _stage(facts: ShaperFacts) -> str:
    if facts.stage == "update":
        return "update: called anew in every update on the same rollouts"
    return "rollout: called once, before the update"


def _promises(facts: ShaperFacts) -> list[str]:
    mean = ["the mean over tokens is the response's advantage"] if facts.preserves_mean else []
    return mean + (["no token's sign is turned"] if facts.preserves_sign else [])


def _reduction(facts: ShaperFacts) -> str:
    if facts.reduces_to is None:
        return "nothing that is declared"
    name, settings = facts.reduces_to
    changed = ", ".join(f"{key}={value}" for key, value in settings.items())
    return f"{name} at {changed or 'its defaults'}"


def page_of(name: str) -> str:
    """The file of a rule's page below the folder of the report."""
    return f"rules/{re.sub(r'[^A-Za-z0-9_]+', '-', name).strip('-')}.html"
