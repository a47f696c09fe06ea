"""Durations: what is read, what is refused, and the round trip."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsctl.config.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("0", 0),
        ("250ms", 0.25),
        ("15s", 15),
        ("2m", 120),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("15d", 1296000),
        ("1w", 604800),
        ("1y", 31536000),
        ("1y1w1d1h1m1s1ms", 32230861.001),
    ],
)
def test_reads_what_prometheus_writes(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value", [30, 1.5, True, None, "", "30", "s", "-5s", "5 s", "1s1h", "1m1m", "1s1y", "00", "٣s", ["1s"]]
)
def test_refuses_what_has_no_clear_meaning(value: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(value)


@pytest.mark.parametrize(("text", "words"), [("0.5ms", "finer than"), ("9999999w", "longer than")])
def test_refuses_what_no_server_can_hold(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_duration(text)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (0.25, "250ms"), (90, "1m30s"), (1296000, "360h")])
def test_writes_the_shortest_form_that_all_servers_read(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_writes_days_where_people_read() -> None:
    assert format_duration(1296000, days=True) == "15d"


@given(milliseconds=st.integers(min_value=0, max_value=36_500 * 86_400_000), days=st.booleans())
def test_round_trip(milliseconds: int, days: bool) -> None:
    assert parse_duration(format_duration(milliseconds / 1000, days=days)) == milliseconds / 1000
