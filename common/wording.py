"""How the pages of Fedward say numbers, in words that do not promise too much."""

import math

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def many(count: int, noun: str) -> str:
    """``many(3589, "image")`` is "3,589 images"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def percent(share: float | None, digits: int = 1) -> str:
    """A share in per cent, a dash where there is none."""
    return "–" if share is None else f"{share:.{digits}%}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    )


def scientific(value: float | None) -> str:
    """A small number such as delta: 0.00001 is "10⁻⁵"."""
    if not value:
        return "–" if value is None else "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    power = "10" + str(int(exponent)).translate(SUPERSCRIPT)
    return power if mantissa == "1.0" else f"{mantissa.removesuffix('.0')} × {power}"


def rounded_up(epsilon: float | None) -> str:
    """An epsilon with two digits, never below what it is."""
    if epsilon is None:
        return "–"
    return f"{math.ceil(round(epsilon * 100, 6)) / 100:.2f}" if math.isfinite(epsilon) else "∞"


def membership_bound(epsilon: float, delta: float) -> float:
    """How often a guess whether one unit was in the data can be right, from even odds.

    Source: Kairouz, Oh, Viswanath 2015, "The Composition Theorem for Differential Privacy": the
    errors of any test obey FPR + e^epsilon FNR >= 1 - delta and the same with both exchanged.
    """
    return 1 - (1 - delta) / (1 + math.exp(min(epsilon, 700.0)))
