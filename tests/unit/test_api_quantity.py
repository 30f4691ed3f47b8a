"""Kubernetes quantities, compared as numbers."""

from decimal import Decimal

import pytest

from private_registry.api.quantity import InvalidQuantityError, parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", "0"),
        ("1", "1"),
        ("1000m", "1"),
        ("100m", "0.1"),
        ("1.5Gi", str(1536 * 1024**2)),
        (".5Ki", "512"),
        ("20Gi", str(20 * 1024**3)),
        ("1k", "1000"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1E", str(10**18)),
        ("1Ei", str(1024**6)),
        ("-1", "-1"),
        ("5n", "0.000000005"),
    ],
)
def test_the_number_that_is_meant(text: str, number: str) -> None:
    """Every suffix of the API server is understood, and what is spelled differently may be the same."""
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize(
    "text",
    [
        *("", "Gi", "1 Gi", "1gi", "1KI", "1GB", "0x10", "1e", "1e1000", "1e9999999", "1.2.3", "1\n", "1_0"),
        "9" * 65,
        "\N{ARABIC-INDIC DIGIT THREE}",
    ],
)
def test_no_quantity(text: str) -> None:
    """Anything else is refused, and never computed for long."""
    with pytest.raises(InvalidQuantityError):
        parse_quantity(text)
