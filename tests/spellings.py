r"""Values of school mathematics, each in many spellings: by hand where a form is rare, made by rule where it is common.

A group holds the spellings of one value; a family is a list of groups whose values are neighbours, so that no spelling
of one may pass for a spelling of another.
"""

from collections.abc import Iterator
from fractions import Fraction

Family = list[list[str]]


def integers() -> Family:
    """Whole numbers and what is near: their digits parted, fused, moved, with a sign or a power."""
    values = (0, 5, -5, 56, 5150, 30000, 3000)
    return [_integer(value) for value in values]


def _integer(value: int) -> list[str]:
    plain = [f"{value}", f"${value}$", f"{value}.0", f"{value}.", f" {value} ", f"({value})", f"\\boxed{{{value}}}"]
    plain += [
        f"x = {value}",
        f"{value} = x",
        f"x={value}",
        f"= {value}",
        f"\\text{{{value}}}",
        f"\\frac{{{2 * value}}}{{2}}",
    ]
    plain += [f"{value}^{{\\circ}}", f"{value}°", f"{value * 3}/3", f"\\[ {value} \\]", f"x \\approx {value}"]
    if abs(value) >= 1000:
        plain += [f"{value:,}", f"{value:,}".replace(",", "{,}"), f"{value:,}".replace(",", "\\,"), f"x = {value:,}"]
    if value and value % 1000 == 0:
        lead, power = value, 0
        while lead % 10 == 0:
            lead, power = lead // 10, power + 1
        for times in (" x ", "x", " × ", "*", r" \times ", r"\cdot", "·"):
            plain += [f"{lead}{times}10^{power}", f"{lead}{times}10^{{{power}}}", f"{lead}.0{times}10**{power}"]
        plain += [f"{lead}e{power}", f"{lead}E+{power}", f"{lead} × 10{'⁰¹²³⁴⁵⁶'[power]}"]
    return plain


def fractions() -> Family:
    """Quotients, with the decimals that end and the mixed numbers that there are."""
    pairs = [(1, 2), (2, 1), (11, 2), (5, 2), (-11, 2), (-9, 2), (1, 3), (33, 100), (16, 3), (5, 3), (61, 4)]
    return [list(_fraction(Fraction(*pair))) for pair in pairs]


def _fraction(value: Fraction) -> Iterator[str]:
    top, bottom = value.numerator, value.denominator
    sign = "-" if top < 0 else ""
    size = abs(top)
    for scale in (1, 3):
        yield from (f"{top * scale}/{bottom * scale}", f"{top * scale} / {bottom * scale}")
        yield from (f"\\{name}{{{top * scale}}}{{{bottom * scale}}}" for name in ("frac", "dfrac", "tfrac"))
        yield from (f"{sign}\\frac{{{size * scale}}}{{{bottom * scale}}}", f"{sign}\\frac {{ {size} }} {{ {bottom} }}")
    yield from (f"$\\frac{{{top}}}{{{bottom}}}$", f"({top})/({bottom})", f"{top} \\div {bottom}", f"{top}÷{bottom}")
    yield from (f"{top} \\cdot {bottom}^{{-1}}", f"{top}:{bottom}", f"y = {top}/{bottom}", f"{top}⁄{bottom}")
    if size < 10 and bottom < 10:
        yield from (f"{sign}\\frac{size}{bottom}", f"{sign}\\frac {size} {bottom}", f"{sign}\\frac{size}{{{bottom}}}")
    whole, rest = divmod(size, bottom)
    if whole and rest:
        yield from (
            f"{sign}{whole} {rest}/{bottom}",
            f"{sign}{whole}\\frac{{{rest}}}{{{bottom}}}",
            f"{sign}({whole}+{rest}/{bottom})",
        )
        yield from (f"{sign}{whole}\\frac{rest}{bottom}", f"{sign}{whole} \\dfrac{{{rest}}}{{{bottom}}}")
        if (rest, bottom) in ((1, 2), (1, 3), (1, 4), (3, 4)):
            yield f"{sign}{whole}{ {(1, 2): '½', (1, 3): '⅓', (1, 4): '¼', (3, 4): '¾'}[rest, bottom] }"
    if 100 % bottom == 0:
        yield from (f"{sign}{size / bottom:g}", f"{sign}{size / bottom:.2f}", f"{sign}{size / bottom:.2f}00")
    if size < bottom and 100 % bottom == 0 and not sign:
        yield f"{size / bottom:g}"[1:]


def surds() -> Family:
    """Roots, and what a lost sign or a lost bracket makes of them."""
    return [
        ["3\\sqrt{2}", "3 \\sqrt { 2 }", "3\\sqrt2", "3√2", "3*sqrt(2)", "\\sqrt{18}", "√18", "6/\\sqrt{2}", "\\frac{6}{\\sqrt{2}}",
         "18^{1/2}", "18^{0.5}", "√2·3", "3 \\cdot \\sqrt{2}", "3\\times\\sqrt{2}", "\\sqrt{2}+2\\sqrt{2}", "√(18)", "sqrt(18)"],
        ["2\\sqrt{3}", "√12", "6/√3", "\\sqrt{12}"], ["3+\\sqrt{2}", "\\sqrt2+3", "√2 + 3"], ["6"], ["32"], ["3.2"],
        ["\\sqrt[3]{2}", "2^{1/3}", "∛2"], ["4.24"], ["4.242640687"], ["\\frac{3\\sqrt{2}}{2}", "3/√2", "1.5√2", "3√2/2"],
        ["\\frac{3+\\sqrt{2}}{2}", "1.5+√2/2"], ["3\\sqrt{2}+1"], ["-3\\sqrt{2}", "-\\sqrt{18}", "- 3 √2"],
        ["2", "\\sqrt[3]{8}", "∛8", "√4", "8^{1/3}"], ["-2", "\\sqrt[3]{-8}"],
        ["\\sqrt{3+2\\sqrt{2}}", "1+\\sqrt{2}"], ["\\sqrt{10-2\\sqrt{5}}", "4\\sin 36^\\circ"],
    ]  # fmt: skip


def multiples_of_pi() -> Family:
    return [
        ["10\\pi", "10 \\pi", "10π", "10*pi", "10 pi", "\\pi \\cdot 10", "20π/2", "10 π cm", "\\frac{20\\pi}{2}", "10\\times\\pi"],
        ["10\\pi^2", "10π²"], ["\\frac{10}{\\pi}", "10/π"], ["31.4"], ["31.4159265358979"], ["10"], ["5π", "\\frac{10}{2}π"],
        ["10+\\pi"], ["\\frac{5\\pi}{3}", "5π/3", "\\frac{5}{3}\\pi", "1\\frac23 π"], ["\\frac{5}{3\\pi}"], ["π", "\\pi", "pi", "1π"],
        ["4\\sqrt{13}\\pi", "4\\pi\\sqrt{13}", "√208 π"], ["64-16\\pi", "-16π+64", "16(4-π)"],
    ]  # fmt: skip


def points() -> Family:
    """Coordinates beside the numbers, sets, lists and intervals that their digits could make."""
    return [
        ["(1,4.5)", "(1, \\frac{9}{2})", "(1,9/2)", "\\left(1, 4.5\\right)", "$(1, 4\\frac12)$", "(2/2;4.50)", "P(1,4.5)",
         "(x,y)=(1,4.5)", "x=1, y=4.5", "y = 9/2, x = 1", "x=1 and y=4.5", "\\left(1,\\,4.5\\right)"],
        ["(4.5,1)", "(9/2, 1)", "x=4.5, y=1"], ["(5,150)", "( 5 , 150 )", "(5, 150.0)", "\\left(5,150\\right)"],
        ["(5150)", "5150", "5,150"], ["(51,50)"], ["(5,1,50)"], ["(5,15)"], ["(150,5)"], ["5.150"],
        ["{5,150}", "\\{5, 150\\}", "150, 5", "5, 150", "5; 150", "5 and 150", "5 or 150", "$5$ and $150$", "x=5 or x=150"],
        ["(5,-150)", "(5, -150)"], ["(0.5,150)", "(\\frac12, 150)", "(.5,150)"], ["(\\sqrt{2},\\pi)", "(√2, π)"],
        ["(12,000,5)"], ["(1,2,3)", "(1, 2, 3)", "(\\frac22,2,3)"], ["(3,2,1)"], ["[3,2,1]"], ["\\langle 1,2,3\\rangle"],
    ]  # fmt: skip


def sets() -> Family:
    return [
        ["{2,-3}", "\\{2,-3\\}", "{-3, 2}", "2, -3", "-3 or 2", "x=2 or x=-3", "x=-3, x=2", "x=2,-3", "x_1=2, x_2=-3",
         "2 and -3", "\\{-3, 2\\}", "$2$, $-3$", "2; -3", "x \\in \\{2,-3\\}", "2 \\text{ or } -3", "{4/2, -3.0}"],
        ["{-2,3}", "3 or -2"], ["(2,-3)", "x=2, y=-3"], ["{2,3}", "2,3", "3 and 2"], ["2"], ["-3"], ["23"], ["2-3", "-1"],
        ["{2,-3,1}", "1, 2, -3"], ["[2,-3]"],
        ["±6", "\\pm 6", "6, -6", "{6,-6}", "x = \\pm 6", "x=6 or x=-6", "+/-6", "-6,6"], ["6"], ["-6"], ["±7"],
        ["3±√2", "3+√2, 3-√2", "3 \\pm \\sqrt{2}", "x = 3 \\pm \\sqrt 2"], ["∠1, ∠2", "∠2 and ∠1", "\\angle 1, \\angle 2", "angles 2 and 1"],
        ["∠1, ∠3"], ["A D and B E", "AD and BE", "BE, AD"], ["A D and B F"],
    ]  # fmt: skip


def intervals() -> Family:
    return [
        ["3<x<7", "7>x>3", "3 \\lt x \\lt 7", "x>3 and x<7", "x \\in (3,7)", "\\{x | 3<x<7\\}", "6<2x<14", "x<7, x>3",
         "\\{x : 3 < x < 7\\}", "4 < x+1 < 8"],
        ["3≤x<7", "[3,7)", "3 \\leq x < 7", "3<=x<7", "7 > x \\ge 3", "x \\in [3,7)"], ["3<x≤7", "(3,7]", "x>3 and x≤7"],
        ["3≤x≤7", "[3,7]", "3 \\le x \\le 7", "x \\in [3,7]"], ["3<x<8", "x \\in (3,8)"], ["(7,3)"], ["3<y<7"],
        ["x>3", "3<x", "(3,\\infty)", "2x>6", "-x<-3", "x-3>0", "(3, ∞)", "(3,+\\infty)", "\\{x | x>3\\}", "(3,oo)"],
        ["x≥3", "[3,\\infty)", "x \\geqslant 3"], ["x<3", "(-\\infty,3)", "3>x", "-x>-3"], ["x=3"], ["x≤3", "(-∞,3]", "x \\leq 3"],
        ["x<3 or x>7", "(-\\infty,3)\\cup(7,\\infty)", "x>7 or x<3", "(-∞,3)∪(7,∞)"], ["x≤3 or x>7"], ["x<7 or x>8"],
        ["x≠3", "x \\neq 3", "(-∞,3)∪(3,∞)", "x != 3", "x<3 or x>3"], ["x<60", "60>x", "x < 60°", "x \\lt 60"],
    ]  # fmt: skip


def lines() -> Family:
    """Equations in explicit, implicit, scaled and rearranged form."""
    return [
        ["y=2x+3", "2x-y+3=0", "y-2x=3", "4x-2y+6=0", "y = 2(x+1.5)", "y-5=2(x-1)", "3+2x=y", "2x+3", "f(x)=2x+3", "-y+2x+3=0",
         "$y = 2x + 3$", "x = (y-3)/2", "\\frac{y}{2} = x + \\frac32", "0=2x-y+3", "y = 3 + 2 \\cdot x"],
        ["y=2x-3", "2x-y-3=0"], ["y=-2x+3", "2x+y=3", "2x+y-3=0", "y = 3 - 2x"], ["y=3x+2", "3x-y+2=0"], ["2y=x+3"], ["y=2x+6"],
        ["y=-\\frac{1}{2}x+\\frac{3}{4}", "y=-1/2*x+3/4", "2x+4y-3=0", "4y = 3 - 2x", "-1/2*x+3/4", "y=-0.5x+0.75", "-2x-4y+3=0",
         "y = -\\frac{x}{2} + \\frac{3}{4}", "x+2y=1.5", "y = \\frac{3-2x}{4}"],
        ["y=\\frac{1}{2}x+\\frac{3}{4}", "2x-4y+3=0"], ["y=-\\frac{1}{2}x-\\frac34"], ["y=-\\frac{1}{2}x+\\frac43"],
        ["y=\\sqrt{3}x", "\\sqrt{3}x-y=0", "y=√3x", "\\sqrt{3}y=3x", "x = \\frac{y}{\\sqrt{3}}"], ["y=3x"], ["x=\\sqrt{3}y"],
        ["x=4", "x-4=0", "2x=8", "4 = x"], ["y=4", "2y-8=0"], ["x=-4", "x+4=0"],
        ["x^2+y^2=25", "x²+y²-25=0", "x^2 = 25 - y^2", "2x^2+2y^2=50", "x**2+y**2=25"], ["x^2+y^2=5"], ["x^2-y^2=25"],
        ["(x-1)^2+(y+2)^2=9", "x^2-2x+y^2+4y-4=0"], ["(x+1)^2+(y-2)^2=9"], ["y=\\frac{3}{x}", "xy=3", "3/x = y"], ["y=3x^2", "y/3 = x^2"],
        ["y>2x+3", "2x-y+3<0", "2y>4x+6", "2x+3<y"], ["y<2x+3", "2x-y+3>0"], ["y≥2x+3"],
        ["a+b=90", "2a+2b=180", "a = 90-b", "b+a=90", "90=a+b"], ["a+b=91"], ["a-b=90"],
    ]  # fmt: skip


def units() -> Family:
    """Quantities with units; the bare number is a spelling of each, and so left out."""
    return [
        ["5 m", "x = 5 m", "5m", "5 meters", "5 \\text{ m}", "5\\,\\mathrm{m}", "$5$ m", "5.0 metres", "x=5 \\text{ m}", "500 cm"],
        ["5 cm", "x = 5 cm", "5\\mathrm{~cm}", "5 centimeters", "50 mm"], ["5 m^2", "5 m²", "5 square meters", "5 sq m", "5 meters squared"],
        ["5 m^3", "5 cubic meters", "5m³"], ["5 kg", "x = 5 kg", "5 kilograms", "5000 g"], ["5 g", "x = 5 g", "5 grams"],
        ["5 s", "t = 5 s", "5 seconds", "5 sec"], ["5 h", "x = 5 h", "5 hours", "5 hrs", "300 min"],
        ["5 m/s", "5 m / s", "5 meters per second", "5 \\text{ m/s}", "5 m s^{-1}", "x = 5 m/s", "18 km/h"],
        ["5 m/s^2", "5 m/s²", "5 m/s^{2}", "5 m s^{-2}", "5 meters per second squared"],
        ["5 km/h", "5 km per hour", "5 kilometers per hour"], ["5 N", "5 newtons", "5 kg m/s^2", "5 kg·m/s²"], ["5 J", "5 N m", "5 N·m"],
        ["5 in", '5"', "5''", "5 inches", "5 in.", "5″", "5”"], ["5 ft", "5'", "5 feet", "5′", "60 in"], ["5 L", "5 liters", "5000 mL"],
        ["5'6\"", "5 ft 6 in", "66 in", "5.5 ft", "5 feet 6 inches", "5′6″", "5\\frac12 ft", "66\""], ["5'7\"", "67 in"],
        ["1 h 30 min", "90 min", "1.5 hours", "1 hour 30 minutes"], ["1 h 20 min", "80 minutes"],
        ["$5", "\\$5", "5 dollars", "$5.00", "500 cents"], ["5 cents", "$0.05"], ["€5", "5 €", "5 euros"], ["5%", "5 percent", "5\\%", "5 per cent"],
        ["20°C", "20 °C", "20 ℃", "20^\\circ C", "20 degrees Celsius"], ["20°F", "20 degrees Fahrenheit"], ["5 °"],
    ]  # fmt: skip


def angles() -> Family:
    return [
        ["40^\\circ", "40", "40°", "m\\angle 1 = 40^\\circ", "m∠1=40", "\\angle 1 = 40", "angle 1 = 40°", "∠1 = 40 degrees", "40 deg",
         "40^{\\circ}", "40\\degree", "40 degrees", "m \\angle {1} = 40"],
        ["41", "m\\angle 1 = 41^\\circ"], ["4", "m\\angle 1 = 4"], ["140", "m∠1 = 140"],
        ["30°15'", "30^\\circ 15'", "30.25°", "30^{\\circ}15^{\\prime}", "30 degrees 15 minutes", "30.25", "30\\frac14°", "30°15′", "30° 15’",
         "30^\\circ 15^\\prime", "30 deg 15 min", "121/4"],
        ["30.15", "30.15°"], ["30°51'"], ["3015"], ["45"], ["30°15'36\"", "30.26°", "30°15′36″", "30°15'36''"], ["-30°15'", "-30.25"],
        ["\\angle ABC = 75", "∠CBA = 75°", "m\\angle ABC = 75^{\\circ}", "75"],
        ["\\frac{\\pi}{6} rad", "\\pi/6 radians", "\\frac{\\pi}{6} radians"],
    ]  # fmt: skip


def named() -> Family:
    """The same number of different things: none of them is another."""
    things = (
        ["x=5", "x = 5", "5=x"], ["y=5"], ["x_1=5", "x_{1} = 5", "x₁=5", "x1 = 5"], ["x_2=5"], ["∠1=5", "m\\angle 1=5", "\\angle{1} = 5"],
        ["∠2=5"], ["AB=5", "BA = 5", "A B = 5", "\\overline{AB}=5", "|AB| = 5"], ["AC=5"], ["A'B'=5", "A′B′ = 5"],
        ["\\widehat{AB}=5", "m\\widehat{BA} = 5", "\\overset{\\frown}{AB}=5", "arc AB = 5", "\\overarc{AB}=5", "m \\widehat{AB}=5^\\circ"],
        ["\\widehat{AC}=5"], ["∠ABC=5", "∠CBA = 5", "\\measuredangle ABC = 5"], ["∠ACB=5"], ["a_{10} = 5"],
        ["S_{\\triangle ABC}=5", "S_{△ABC} = 5"], ["P(5,1)"], ["Q(5,1)"], ["\\angle 1 \\cong \\angle 4", "∠4 ≅ ∠1"],
        ["\\angle 1 \\cong \\angle 5"], ["AB \\parallel CD", "CD ∥ AB"], ["AB \\perp CD"], ["\\angle 1", "∠1", "angle 1"],
    )  # fmt: skip
    return [list(spelled) for spelled in things]


def trigonometry() -> Family:
    return [
        ["1/2", "\\sin 30^\\circ", "\\sin(30^\\circ)", "sin 30°", "\\cos 60^{\\circ}", "\\sin\\frac{\\pi}{6}", "\\sin(\\pi/6)", "\\sin 150°",
         "-\\sin 210^\\circ", "\\sin{30^\\circ}", "sin(30 degrees)", "\\cos 300°", "\\sin 390°", "\\tan 45° / 2", "\\sin^2 45^\\circ",
         "\\sin 15° \\cos 15° \\cdot 2", "\\cos \\frac{\\pi}{3}"],
        ["\\sin 30"], ["\\sin 60^\\circ", "\\frac{\\sqrt{3}}{2}", "\\cos 30°"], ["1", "\\tan 45^\\circ", "\\sin^2 40° + \\cos^2 40°", "\\sin 90°", "\\tan 20° \\tan 70°"],
        ["\\tan 60^\\circ", "\\sqrt{3}", "\\cot 30°", "\\frac{\\sin 60°}{\\cos 60°}"], ["\\tan 30^\\circ", "\\frac{\\sqrt3}{3}", "1/√3"],
        ["10\\sin 40^\\circ", "10\\cos 50°", "10 \\cdot \\sin 140^\\circ"], ["10\\sin 41^\\circ"], ["6.4278760969"], ["10\\sin 40"],
        ["\\cos 15°", "\\frac{\\sqrt{6}+\\sqrt{2}}{4}"], ["\\sin 15°", "\\frac{\\sqrt6-\\sqrt2}{4}"], ["\\cos 36°", "\\frac{1+\\sqrt5}{4}"],
        ["0", "\\cos 90°", "\\sin 180^\\circ", "\\sin 0"], ["-1", "\\cos\\pi", "\\cos(\\pi)", "\\cos 180°"], ["2", "\\sec 60°", "1/\\sin 30°"],
        ["5\\sin x", "5 \\sin(x)", "5\\sin{x}"], ["\\sin 5x"], ["5\\cos x"], ["\\sin^{-1} x", "\\arcsin x"],
    ]  # fmt: skip


def ratios() -> Family:
    return [
        ["2:3", "4:6", "2 : 3", "2/3", "\\frac23", "2∶3", "1:1.5"], ["3:2", "1.5"], ["23"], ["2.3"],
        ["1:2:3", "2:4:6", "1 : 2 : 3", "0.5:1:1.5"], ["1:2:4"], ["3:2:1"], ["1:2"], ["(1,2,3)"],
        ["\\frac{\\sqrt 3}{4}:1", "√3:4", "\\frac{\\sqrt3}{4}"], ["1:\\frac{\\sqrt 3}{4}"],
        ["1/3", "0.\\overline{3}", "\\frac13"], ["0.3"], ["0.333"], ["1/6", "0.1\\overline{6}"], ["0.16"], ["3"],
    ]  # fmt: skip


FAMILIES = (
    integers, fractions, surds, multiples_of_pi, points, sets, intervals, lines, units, angles, named, trigonometry, ratios,
)  # fmt: skip
