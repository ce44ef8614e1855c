"""What a policy tells of a token while it draws it, and how many passes a rule still needs."""

from credit_zoo.facts import ShaperFacts

SAMPLED_SIGNALS = ("logp", "entropy", "collision")


def passes_beside_sampling(facts: ShaperFacts) -> int:
    """Passes without gradient that a step of one update makes for a rule, beside the pass that is learned from, where
    the policy itself has drawn the responses, in float32: `facts.extra_passes` where another engine has, or in half
    precision, which rounds what is told while drawing otherwise than a pass would.
    """
    seen = set(facts.measured) - set(facts.views)  # what a pass over the true picture tells
    compared = "view_divergence" in facts.views  # of two distributions, which no sample tells
    spared = facts.scope != "response" and seen and seen <= set(SAMPLED_SIGNALS) and not compared
    return facts.extra_passes - bool(spared)
