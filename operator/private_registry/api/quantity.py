"""Kubernetes quantities (`20Gi`, `500m`, `1e3`), which the API server spells in its own way: `1000m` becomes `1`.

Source of the grammar: k8s.io/apimachinery/pkg/api/resource, Quantity.
"""

import re
from decimal import Decimal

_QUANTITY = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)(?:([eE][+-]?[0-9]{1,3})|([numkMGTPE]|[KMGTPE]i)?)")
_DECIMAL = {
    suffix: Decimal(10) ** power for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
}
_BINARY = {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)}


_UNITS = ("", *_BINARY)


class InvalidQuantityError(ValueError):
    """The text is no quantity."""


def parse_quantity(text: str) -> Decimal:
    """The number that a quantity stands for. Raises InvalidQuantityError."""
    match = _QUANTITY.fullmatch(text) if len(text) <= 64 else None
    if match is None:
        raise InvalidQuantityError(f"{text[:64]!r} is no quantity: a number, then optionally a unit such as Gi")
    number, exponent, suffix = match.groups()
    if exponent:
        return Decimal(number + exponent)
    return Decimal(number) * (_DECIMAL | _BINARY).get(suffix or "", Decimal(1))


def quantity_of(number: int) -> str:
    """Bytes as a person reads them, in four digits: `18.41Gi`. Off by half a thousandth of the number at most."""
    value, unit = float(number), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.4g}{_UNITS[unit]}"
