"""How credit is coloured, the same for every rule, in the picture of `show` and on the pages of the report.

    strength = min(|away|, 1)^POWER        away: the weight minus 1, or a credit whose neutral point is 0

Orange stands above the neutral point, blue below: two colours that no common colour blindness confuses; where they may
not be enough a sign stands beside them. The root shows PEPO's weights, which lie close to 1, beside weights of 0 and 2.
"""

POWER = 0.5
UP, DOWN = "#e66101", "#2b83ba"  # at full strength, on a light ground
UP_DARK, DOWN_DARK = "#b3500a", "#256f9f"  # and on a dark one
MOST = 0.85  # of the colour, at full strength: text on it stays legible


def strength(away: float) -> float:
    """In [0, 1], 1 from a distance of 1 on."""
    return float(min(abs(away), 1.0) ** POWER)


def color(weight: float) -> tuple[int, int, int]:
    """The background of a token by its weight: white at 1, full orange from 2 on, full blue at 0 and below."""
    full = UP if weight > 1 else DOWN
    share = MOST * strength(weight - 1)
    red, green, blue = (round(255 + share * (int(full[at : at + 2], 16) - 255)) for at in (1, 3, 5))
    return red, green, blue
