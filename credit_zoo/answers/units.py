"""Units of measurement at the end of an answer: what they measure, and how large they are.

A unit is a quotient of products of powers of the named ones (`m/s^2`, `km per hour`, `square feet`, `N m`), as
powers of base units and a factor; `cm` and `m` measure the same. A unit of one letter is read only after a number
without letters: `5 m` is five metres, `5x m` a product.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from credit_zoo.answers.exact_numbers import PI, Number, UnreadableError, invert, multiply, rational, symbol

# Name, words, factor, powers of base units. Months, money and temperatures are bases of their own.
_TABLE: tuple[tuple[str, str, str], ...] = (
    (r"cm|centimet(?:er|re)s?|厘米", "1/100", "m"), (r"mm|millimet(?:er|re)s?|毫米", "1/1000", "m"),
    (r"dm|decimet(?:er|re)s?|分米", "1/10", "m"), (r"km|kilomet(?:er|re)s?|千米|公里", "1000", "m"),
    (r"m|met(?:er|re)s?|米", "1", "m"), (r"in\.?|inch(?:es)?|\"", "127/5000", "m"),
    (r"ft\.?|foot|feet|'", "381/1250", "m"), (r"yds?\.?|yards?", "1143/1250", "m"),
    (r"mi|miles?", "201168/125", "m"), (r"nmi|nautical miles?|海里", "1852", "m"),
    (r"kg|kilograms?|千克|公斤", "1", "kg"), (r"mg|milligrams?|毫克", "1/1000000", "kg"),
    (r"g|grams?|克", "1/1000", "kg"), (r"lbs?\.?|pounds?", "45359237/100000000", "kg"),
    (r"oz|ounces?", "45359237/1600000000", "kg"), (r"[lL]|lit(?:er|re)s?|升", "1/1000", "m3"),
    (r"m[lL]|millilit(?:er|re)s?|毫升", "1/1000000", "m3"), (r"ms|milliseconds?|毫秒", "1/1000", "s"),
    (r"s|secs?|seconds?|秒", "1", "s"), (r"mins?|minutes?|分钟", "60", "s"), (r"h|hours?|hrs?|小时", "3600", "s"),
    (r"days?|天", "86400", "s"), (r"weeks?|周", "604800", "s"), (r"months?", "1", "month"),
    (r"years?|yrs?", "12", "month"), (r"dollars?|USD|\$", "1", "$"), (r"cents?|¢", "1/100", "$"),
    (r"€|euros?", "1", "€"), (r"£", "1", "£"), (r"¥|yuan|元", "1", "¥"), (r"%", "1", "%"),
    (r"°\s*C(?:elsius)?", "1", "°C"),
    (r"°\s*F(?:ahrenheit)?", "1", "°F"), (r"rad(?:ian)?s?", "rad", "°"), (r"Hz|hertz", "1", "s-1"),
    (r"N|newtons?", "1", "kg m s-2"), (r"J|joules?", "1", "kg m2 s-2"), (r"kJ", "1000", "kg m2 s-2"),
    (r"W|watts?", "1", "kg m2 s-3"), (r"kW", "1000", "kg m2 s-3"), (r"V|volts?", "1", "kg m2 s-3 A-1"),
    (r"ohms?|Ω", "1", "kg m2 s-3 A-2"), (r"amps?|amperes?|A", "1", "A"), (r"Pa|pascals?", "1", "kg m-1 s-2"),
    (r"kPa", "1000", "kg m-1 s-2"), (r"mph", "1397/3125", "m s-1"), (r"kph|kmh", "5/18", "m s-1"),
    (r"moles?|mol", "1", "mol"), (r"units?", "1", ""),
)  # fmt: skip
_MEMBER = re.compile(r"([^\d\s-]+)(-?\d)?")
_WORDS = "|".join(words for words, _, _ in _TABLE)


def _factor(group: str) -> str:
    """A named unit with its power; `group` begins the groups of kind, word, and power in signs, digits and words."""
    kind = rf"(?:({group}square|sq\.?|cubic|cu\.?)\s+)?"
    power = rf"(?:\s*\^\s*\{{?\s*({group}-?[1-4])\s*\}}?|({group}[23])(?!\d)|\s+({group}squared|cubed))?"
    return rf"{kind}({group}{_WORDS})(?![A-Za-z]){power}"


_UNIT = re.compile(
    rf"(?<=[\d)}}\]{PI}°A-Za-z'])(?<!\\)\s*(?<![A-Za-z])"
    rf"({_factor('?:')}(?:\s*(?:/|\bper\b|\*|\s)\s*{_factor('?:')}){{0,3}}\s*\.?)$"
)
_ONE = re.compile(rf"\s*(/|\bper\b|\*)?\s*{_factor('')}\.?")
_EXACT = tuple((re.compile(words), factor, powers) for words, factor, powers in _TABLE)
_SINGLE = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_LETTERED = re.compile(r"[^\W\d_π]")
_SMALLER = re.compile(r"(.*[A-Za-z'])\s*(\d+(?:\.\d+)?(?:\\frac\{\d+\}\{\d+\})?)")
_MONEY = "$€£¥"


@dataclass(frozen=True)
class Unit:
    """`factor` times the product of the powers of base units."""

    powers: tuple[tuple[str, int], ...]
    factor: Number

    def times(self, other: "Unit", exponent: int) -> "Unit":
        """The unit times a power of another."""
        powers = dict(self.powers)
        for base, power in other.powers:
            powers[base] = powers.get(base, 0) + exponent * power
        factor = self.factor
        for _ in range(abs(exponent)):
            factor = multiply(factor, other.factor if exponent > 0 else invert(other.factor))
        return Unit(tuple(sorted((base, power) for base, power in powers.items() if power)), factor)


_NONE = Unit((), rational(1))
DEGREE = Unit((("°", 1),), rational(1))


def _named(word: str) -> Unit:
    factor, powers = next((factor, powers) for words, factor, powers in _EXACT if words.fullmatch(word))
    members = tuple(sorted((base, int(power or 1)) for base, power in _MEMBER.findall(powers)))
    if factor == "rad":
        return Unit(members, multiply(rational(180), invert(symbol(PI))))
    return Unit(members, rational(Fraction(factor)))


def _unit(text: str) -> Unit | None:
    """The unit that a text of units writes; None for plain `units`."""
    unit, at = _NONE, 0
    while at < len(text) and (match := _ONE.match(text, at)):
        sign, kind, word, raised, short, spoken = match.groups()
        power = int(raised or short or {"squared": 2, "cubed": 3}.get(spoken, 1))
        power *= {"s": 2, "c": 3}.get((kind or "")[:1], 1)
        unit = unit.times(_named(word), -power if sign in ("/", "per") else power)
        at = match.end()
    return unit if unit.powers else None


def take_unit(text: str) -> tuple[str, Unit | None]:
    """The text without its unit, and the unit; None where there is none."""
    sign = "-" if text.startswith("-") else ""
    if text.removeprefix(sign)[:1] in tuple(_MONEY):
        return sign + text.removeprefix(sign)[1:].lstrip(), _named(text.removeprefix(sign)[0])
    match = _UNIT.search(text)
    if match is None:
        return text, None
    number = text[: match.start()]
    lettered = _LETTERED.search(number.replace("\\frac", ""))
    if lettered and not _SMALLER.fullmatch(number) and _SINGLE.search(match.group(1)):
        return text, None
    return number, _unit(match.group(1))


def larger_part(text: str) -> tuple[str, str] | None:
    """`5 ft` and `6` of the `5 ft 6` that is left of `5 ft 6 in`; None for a text of one part."""
    match = _SMALLER.fullmatch(text)
    return (match.group(1), match.group(2)) if match and take_unit(match.group(1))[1] else None


def ratio(larger: Unit, smaller: Unit) -> Number:
    """How many of the one unit the other holds; `UnreadableError` if they do not measure the same."""
    if larger.powers != smaller.powers:
        raise UnreadableError("units of different quantities")
    return multiply(larger.factor, invert(smaller.factor))
