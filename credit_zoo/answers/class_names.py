"""When an answer is the name of a class of pictures: the whole name, and no more than a maker or a gloss besides.

Decisions where graders may reasonably differ:
- Hyphens, spaces, apostrophes and case are free, but a sign between two digits may only be left out or be another
  one: `707 320` and `707320` are `707-320`, `70-7320` is not.
- The aircraft's own maker may stand before the name (`Airbus A320`), another may not (`Boeing A320`).
- A gloss in brackets is accepted if it is such a maker, a botanical name or a plain word for the kind of thing
  (`Tiger Lily (Lilium)`); any other word may be another class, and so a hedge.
- An article is dropped where the rest is the name; `A 320` is `A320`.
"""

import re

from credit_zoo.answers.plain_text import CAP, clean, key, unwrap

_GLOSS = re.compile(r"\s*\(([^()]*)\)\s*$")
_ARTICLE = re.compile(r"(?:the|an?)\s+(?=\w)", re.IGNORECASE)
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[\W_]+(?=\d)")
_ALONE = re.compile(r"[^\w|]|_")
_PLAIN_WORDS = re.compile(r"(?:an? )?(?:flower|plant|aircraft|airplane|aeroplane|airliner|plane|jet|helicopter)")
_BOTANICAL = re.compile(
    r"(?:genus )?[A-Z][a-z]+(?:um|us|is|ia|ea|ma|la|na|ta|ra|sa|za|ya|ix|on|ys|os|as|es|ax|ex)"
    r"(?: (?:x )?[a-z]{4,}| spp?\.?)?"
)
# The makers of the classes of FGVC-Aircraft, by their present and former names; beside each, the models' names.
_MAKERS = tuple(
    (re.compile(maker, re.IGNORECASE), re.compile(models, re.IGNORECASE))
    for maker, models in (
        (r"boeing", r"7[0-7]7|md|f/?a"), (r"airbus", r"a3\d\d"), (r"atr|aerospatiale", r"atr"), (r"antonov", r"an"),
        (r"british aerospace|bae systems|bae", r"bae|hawk t"), (r"hawker(?: siddeley)?", r"bae ?-?125|hawk t"),
        (r"lockheed(?: martin| corporation)?", r"c-?130|l-?1011|f-?16"), (r"douglas", r"dc|c-?47"),
        (r"mcdonnell(?: douglas)?", r"dc|md|f/?a|717"), (r"bombardier(?: aerospace)?", r"crj|challenger|global|dhc"),
        (r"canadair", r"crj|challenger"), (r"cessna", r"cessna"), (r"de havilland(?: canada)?", r"dhc?"),
        (r"robin", r"dr"), (r"(?:fairchild )?dornier", r"dornier"), (r"embraer", r"e-?1|emb|erj|embraer|legacy"),
        (r"eurofighter", r"eurofighter"), (r"general dynamics", r"f-?16"), (r"northrop(?: grumman)?", r"f/?a"),
        (r"dassault(?: aviation)?", r"falcon"), (r"fokker", r"fokker"), (r"gulfstream(?: aerospace)?", r"gulfstream"),
        (r"ilyushin", r"il"), (r"fairchild(?: swearingen)?|swearingen", r"metroliner|dornier"),
        (r"beech(?:craft)?|hawker beechcraft", r"model b|beechcraft"), (r"piper", r"pa"), (r"cirrus", r"sr"),
        (r"saab", r"saab"), (r"supermarine", r"spitfire"), (r"panavia", r"tornado"), (r"tupolev", r"tu"),
        (r"yakovlev", r"yak"),
    )
)  # fmt: skip


def _class_key(name: str) -> str:
    """The letters and digits of a name, with a bar where something stands between two digits."""
    return _ALONE.sub("", _BETWEEN_DIGITS.sub("|", key(name.replace("_", " "))))


def _is_name(text: str, truth: str) -> bool:
    wanted = _class_key(truth)
    said = {_class_key(text), _class_key(_ARTICLE.sub("", text, count=1))} - {""}
    return any(one == wanted or one == wanted.replace("|", "") for one in said)


def _made_by(maker: str, truth: str) -> bool:
    """Whether a text names the maker of the class; of a class's own first word it is no maker, but that word."""
    return any(names.fullmatch(maker.strip()) and models.match(truth) for names, models in _MAKERS)


def same_class(answer: str, truth: str) -> bool:
    """The same class name: hyphens, apostrophes and spaces aside, with its maker before it or a gloss after."""
    answer = unwrap(clean(answer)) if len(answer.strip()) <= CAP else ""
    truth = unwrap(clean(truth))
    if _is_name(answer, truth):
        return True
    if gloss := _GLOSS.search(answer):
        meant = gloss.group(1).strip()
        harmless = _PLAIN_WORDS.fullmatch(meant.casefold()) or _BOTANICAL.fullmatch(meant) or _made_by(meant, truth)
        answer = answer[: gloss.start()] if harmless else ""
    words = _ARTICLE.sub("", answer, count=1).split()
    makers = (" ".join(words[:count]) for count in range(1, min(len(words), 4)))
    return _is_name(answer, truth) or any(
        _made_by(maker, truth) and _is_name(" ".join(words[len(maker.split()) :]), truth) for maker in makers
    )
