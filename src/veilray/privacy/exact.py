"""Exact numbers: an epsilon is a fraction, never a float, so that what is claimed is what is charged.

Figures for people are rounded to the safe side. What bounds a leak from above (epsilon, delta, odds, nats) is rounded
up: `decimal_text`, `delta_text`. What was certified from below (an audit's share of a claim) is rounded down:
`lower_text`.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

__all__ = ["Exact", "ExactLike", "Signed", "decimal_text", "delta_text", "exact", "lower_text", "magnitude", "signed"]

ExactLike: TypeAlias = str | int | Fraction | Decimal
"""What is accepted where an exact number is asked for: `"0.5"`, `"1/3"`, `4`, a Fraction or a Decimal."""

_LONGEST = 64
"""Characters of a decimal number."""

_LONGEST_FRACTION = 1024
"""Characters of a fraction: room for every accepted decimal written as one, so that what is written is read back."""


def exact(value: ExactLike, name: str = "value") -> Fraction:
    """Read an exact non-negative number.

    Raises:
        ValueError: for floats (0.1 is not a tenth), non-finite or negative numbers, or text that is neither
            a decimal number nor a fraction.

    Example:
        >>> exact("0.1"), exact("1/3")
        (Fraction(1, 10), Fraction(1, 3))
        >>> exact(0.1, "epsilon")
        Traceback (most recent call last):
        ...
        ValueError: epsilon must be exact, got the float 0.1: write it as a string, "0.1"
    """
    if isinstance(value, bool):
        raise ValueError(f"{name} must be a number, got {value!r}")
    if isinstance(value, float):
        raise ValueError(f'{name} must be exact, got the float {value!r}: write it as a string, "{value!r}"')
    number = Fraction(value) if isinstance(value, Fraction | int) else _from_text(value, name)
    if number < 0:
        raise ValueError(f"{name} must not be negative, got {value}")
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > _LONGEST_FRACTION * 3 // 2:
        raise ValueError(f"{name} must be a fraction of at most {_LONGEST_FRACTION} characters, got a longer one")
    return number


def signed(value: ExactLike, name: str = "value") -> Fraction:
    """As `exact`, of either sign.

    Example:
        >>> signed("-2.5"), signed("1/3")
        (Fraction(-5, 2), Fraction(1, 3))
    """
    if isinstance(value, str | Decimal):
        text = str(value).strip()
        return -exact(text[1:], name) if text.startswith("-") else exact(text, name)
    return -exact(-value, name) if isinstance(value, Fraction | int) and value < 0 else exact(value, name)


def _from_text(value: str | Decimal, name: str) -> Fraction:
    text = str(value).strip()
    numerator, slash, denominator = text.partition("/")
    longest = _LONGEST_FRACTION if slash or text.isdecimal() else _LONGEST
    if len(text) > longest:
        raise ValueError(f"{name} must be at most {longest} characters, got {len(text)}")
    try:
        if slash:
            if not (numerator.strip().isdecimal() and denominator.strip().isdecimal()):
                raise ValueError
            return Fraction(int(numerator), int(denominator))
        decimal = Decimal(numerator)
        if not decimal.is_finite() or abs(decimal.adjusted()) > 400:
            raise ValueError
        return Fraction(decimal)
    except (ValueError, ZeroDivisionError, InvalidOperation):
        raise ValueError(f"{name} must be a decimal number or a fraction such as 0.5 or 1/3, got {text!r}") from None


def decimal_text(value: Fraction, digits: int = 4) -> str:
    """A fraction for people: exact where that is short, otherwise rounded **up** to `digits` figures.

    Example:
        >>> decimal_text(Fraction(1, 2)), decimal_text(Fraction(1, 3)), decimal_text(Fraction(18432))
        ('0.5', '0.3334', '18,432')
    """
    if value == 0:
        return "0"
    if value.denominator == 1:
        return f"{value.numerator:,}"
    power = magnitude(value)
    scale = Fraction(10) ** (digits - 1 - power)
    rounded = Fraction(-((-value * scale).__floor__())) / scale
    places = max(0, digits - 1 - power)
    if power < -4:
        return f"{Decimal(rounded.numerator) / Decimal(rounded.denominator):.{digits - 1}e}"
    text = f"{rounded.__floor__():,}" if places == 0 else f"{float(rounded):,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def delta_text(value: Fraction, digits: int = 3) -> str:
    """A delta for people: as `decimal_text`, and below a thousandth in powers of ten. Rounded **up**.

    Example:
        >>> delta_text(Fraction("1e-6")), delta_text(Fraction("1.0004e-6")), delta_text(Fraction(1, 20))
        ('1e-6', '1.01e-6', '0.05')
    """
    if value == 0 or value >= Fraction(1, 1000):
        return decimal_text(value, digits)
    last = magnitude(value) - digits + 1
    rounded = -((-value / Fraction(10) ** last).__floor__())
    return f"{Decimal(rounded).scaleb(last).normalize():e}"


def lower_text(value: Fraction, digits: int = 4) -> str:
    """A certified figure for people, never above `value`: rounded **down** to `digits` figures.

    Example:
        >>> lower_text(Fraction(1, 2)), lower_text(Fraction(2, 3)), lower_text(Fraction(99999, 1000), 3)
        ('0.5', '0.6666', '99.9')
    """
    if value <= 0 or value.denominator == 1:
        return decimal_text(max(value, Fraction(0)))
    scale = Fraction(10) ** (digits - 1 - magnitude(value))
    return decimal_text((value * scale).__floor__() / scale, digits)


def magnitude(value: Fraction) -> int:
    """The power of ten of the leading figure of a positive number, by integers alone.

    Example:
        >>> magnitude(Fraction(100)), magnitude(Fraction(1, 3))
        (2, -1)
    """
    guess = len(str(value.numerator)) - len(str(value.denominator))
    while Fraction(10) ** guess > value:
        guess -= 1
    while Fraction(10) ** (guess + 1) <= value:
        guess += 1
    return guess


Exact = Annotated[
    Fraction,
    BeforeValidator(exact),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(/[1-9][0-9]*)?$", "description": "exact fraction"}),
]
"""A pydantic field that holds an exact non-negative fraction; JSON carries it as a string such as "3/10"."""

Signed = Annotated[
    Fraction,
    BeforeValidator(signed),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(/[1-9][0-9]*)?$", "description": "exact fraction"}),
]
"""As `Exact`, of either sign: the public bounds of a number."""
