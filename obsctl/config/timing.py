"""How quickly a fault becomes a delivered notification: three profiles, each value of which can be changed."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from obsctl.config.durations import Duration, Positive
from obsctl.config.shapes import Clash, Misfit, Strict


class Profile(StrEnum):
    """fast: seconds, for demo and tests. standard: minutes. relaxed: fewer samples, later alerts."""

    FAST = "fast"
    STANDARD = "standard"
    RELAXED = "relaxed"


_VALUES = {
    # key: (fast, standard, relaxed)
    "scrape_interval": ("2s", "15s", "30s"),
    "scrape_timeout": ("1s", "10s", "10s"),
    "evaluation_interval": ("1s", "15s", "30s"),
    "for": ("10s", "2m", "5m"),
    "window": ("10s", "5m", "10m"),
    "group_wait": ("1s", "30s", "1m"),
    "group_interval": ("2s", "30s", "5m"),
    "repeat_interval": ("1h", "4h", "12h"),
    "heartbeat": ("10s", "1m", "2m"),
    "check_interval": ("1s", "10s", "15s"),
    "min_healthy": ("2s", "10s", "15s"),
}
PROFILES = {
    profile.value: {key: values[column] for key, values in _VALUES.items()} for column, profile in enumerate(Profile)
}


class Timing(Strict):
    """Every interval on the way from a fault to a delivered notification.

    Written as a profile's name, or as a mapping that names a profile and changes some of its values.
    """

    profile: Profile = Profile.STANDARD
    """Where every value comes from that is not given here: fast, standard or relaxed."""
    scrape_interval: Positive
    """How often Prometheus scrapes each target."""
    scrape_timeout: Positive
    """How long a scrape may take; not longer than scrape_interval."""
    evaluation_interval: Positive
    """How often Prometheus evaluates the rules."""
    pending: Duration = Field(alias="for")
    """How long a condition must hold before its alert fires; at least 2s."""
    window: Positive
    """Range of the rates in shipped rules; at least 4 scrape intervals."""
    group_wait: Duration
    """How long Alertmanager waits for more alerts of a group before the first notification."""
    group_interval: Positive
    """How long Alertmanager waits before it notifies of a change in a group, a resolved alert among them."""
    repeat_interval: Positive
    """After how long Alertmanager notifies again of an alert that still fires."""
    heartbeat: Positive
    """How often the Watchdog alert must reach alert-sink."""
    check_interval: Positive
    """How often Consul checks the health of a component; at least 1s."""
    min_healthy: Duration
    """How long a new version must be healthy before Nomad counts it as such."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_profile(cls, value: object) -> object:
        mapping = {"profile": value} if isinstance(value, str) else value
        if not isinstance(mapping, dict):
            return value
        profile = mapping.get("profile", Profile.STANDARD)
        known = isinstance(profile, str) and profile in PROFILES
        return {**PROFILES[profile if known else Profile.STANDARD], **mapping}

    @model_validator(mode="after")
    def _intervals_fit(self) -> Timing:
        misfits = list(self._misfits())
        if misfits:
            raise Clash(*misfits)
        return self

    def _misfits(self) -> Iterator[Misfit]:
        interval = ("scrape_interval",)
        if self.scrape_timeout > self.scrape_interval:
            yield Misfit(("scrape_timeout",), "must not be longer than scrape_interval", interval)
        if self.window < 4 * self.scrape_interval:
            words = "must span at least 4 scrape intervals, or a rate has too few samples"
            yield Misfit(("window",), words, interval)
        if self.pending < 2:
            words = "must be at least 2s: absent() fires for a moment when Prometheus restarts"
            yield Misfit(("for",), words)
        if self.check_interval < 1:
            yield Misfit(("check_interval",), "must be at least 1s; Nomad takes no less")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Editors see both forms, and that a profile supplies what is not given."""
        mapping = handler.resolve_ref_schema(handler(schema))
        mapping.pop("required", None)
        name = {"type": "string", "enum": list(PROFILES)}
        return {"title": mapping.get("title"), "description": mapping.get("description"), "anyOf": [name, mapping]}
