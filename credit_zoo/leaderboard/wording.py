"""Lists and counts in a sentence."""

from collections.abc import Sequence

MOST = 5  # names in a list


def listed(items: Sequence[str], most: int = MOST) -> str:
    """Items in a sentence, of many the first and how many more."""
    if len(items) > most:
        return f"{', '.join(items[: most - 1])} and {len(items) - most + 1} more"
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def many(count: int, what: str) -> str:
    """How many of something there are: "1 rule", "2 rules"."""
    return f"{count} {what}{'' if count == 1 else 's'}"
