"""Names of rules that are made of rules, such as `permuted(pepo)`, as text."""

import re

RENAMED_SHAPERS = {"permuted_pepo": "permuted(pepo)"}  # names of version 0.2


def canonical(name: str) -> str:
    """One spelling for the name of a combination: `permuted( pepo )` and, without brackets that a shell would read,
    `permuted:pepo` are `permuted(pepo)`; `mean:pepo+entropy` is `mean(pepo,entropy)`. Other names stay as they are.
    """
    name = re.sub(r"\s+", "", name)
    head, colon, rest = name.partition(":")
    if colon and "(" not in head:
        return f"{head}({canonical(rest)})" if ":" in rest else f"{head}({','.join(rest.split('+'))})"
    return RENAMED_SHAPERS.get(name, name)


def parts_of(name: str) -> tuple[str, tuple[str, ...]]:
    """The head of a combination's name and the names that it combines; no names where it is none."""
    found = re.fullmatch(r"(\w+)\((.+)\)", name)
    if not found:
        return name, ()
    parts, depth = [""], 0
    for letter in found[2]:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return found[1], tuple(parts)


def heads_of(name: str) -> tuple[str, ...]:
    """The combinations and rules that a name is made of, from the outside to the inside."""
    head, parts = parts_of(name)
    return (head, *(inner for part in parts for inner in heads_of(part)))


def gin_name(name: str) -> str:
    """A rule's name in a gin file, which knows no brackets."""
    head, parts = parts_of(name)
    return "__".join((head, *map(gin_name, parts)))
