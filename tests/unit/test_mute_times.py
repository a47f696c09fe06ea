"""When a route is silent, as Alertmanager sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from obsctl.drills.plan.mute_times import silent_by
from obsctl.errors import ObsctlError
from obsctl.stack.routing import Route, routes

NOW = datetime(2027, 1, 29, 23, 30, tzinfo=ZoneInfo("UTC")).timestamp()  # a Friday, the third day from the month's end


def is_in(interval: dict[str, Any], at: float = NOW) -> bool:
    config = {"time_intervals": [{"name": "x", "time_intervals": [interval]}]}
    return silent_by(config, Route("r", mute_time_intervals=("x",)), at) == ("x",)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ({}, True),
        ({"times": [{"start_time": "23:30", "end_time": "24:00"}]}, True),
        ({"times": [{"start_time": "22:00", "end_time": "23:30"}]}, False),
        ({"times": [{"start_time": "22:00", "end_time": "23:30"}, {"start_time": "23:00", "end_time": "23:31"}]}, True),
        ({"weekdays": ["monday:friday"]}, True),
        ({"weekdays": ["Saturday", "sunday"]}, False),
        ({"weekdays": ["saturday"], "location": "Europe/Berlin"}, True),
        ({"days_of_month": ["-3"]}, True),
        ({"days_of_month": ["1:28", "30:31"]}, False),
        ({"days_of_month": ["29:-1"]}, True),
        ({"months": ["1"]}, True),
        ({"months": ["january:march"]}, True),
        ({"months": ["2:12"]}, False),
        ({"years": ["2026:2027"]}, True),
        ({"years": ["2026"]}, False),
        ({"years": ["2027"], "weekdays": ["sunday"]}, False),
    ],
)
def test_a_moment_lies_in_an_interval_if_all_parts_say_so(interval: dict[str, Any], expected: bool) -> None:
    assert is_in(interval) is expected


def test_a_time_zone_that_this_machine_does_not_know_is_not_guessed() -> None:
    with pytest.raises(ObsctlError, match="does not know the time zone Mars/Base"):
        is_in({"weekdays": ["saturday"], "location": "Mars/Base"})


CONFIG = {
    "time_intervals": [
        {"name": "now", "time_intervals": [{"years": ["2027"]}]},
        {"name": "never", "time_intervals": [{"years": ["1999"]}]},
    ]
}


@pytest.mark.parametrize(
    ("mute", "active", "silent"),
    [
        ((), (), ()),
        (("never",), (), ()),
        (("never", "now"), (), ("now",)),
        ((), ("now",), ()),
        ((), ("never",), ("never",)),
        ((), ("never", "now"), ()),
        (("now",), ("never",), ("now",)),
    ],
)
def test_a_route_is_silent_in_its_mute_times_and_outside_its_active_times(
    mute: tuple[str, ...], active: tuple[str, ...], silent: tuple[str, ...]
) -> None:
    assert silent_by(CONFIG, Route("r", mute_time_intervals=mute, active_time_intervals=active), NOW) == silent


def test_a_route_does_not_inherit_time_intervals() -> None:
    inner = {"receiver": "inner", "matchers": ['a="1"']}
    outer = {"receiver": "outer", "mute_time_intervals": ["now"], "active_time_intervals": ["never"], "routes": [inner]}
    config = {"route": {"receiver": "top", "routes": [outer]}}
    assert [route.mute_time_intervals for route in routes(config, {"a": "1"})] == [()]
    assert [route.active_time_intervals for route in routes(config, {})] == [("never",)]
