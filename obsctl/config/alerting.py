"""Who is notified of an alert, and what is changed in the shipped rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from obsctl import names
from obsctl.config.durations import Duration
from obsctl.config.secrets import SecretRef
from obsctl.config.shapes import Clash, LabelName, Misfit, Name, SeverityName, Strict, Text

OWN_RECEIVERS = (names.SINK_RECEIVER, names.HEARTBEAT_RECEIVER)
CHANNELS = ("webhook", "slack", "pagerduty", "email")


def _not_our_own(name: str) -> str:
    if name in OWN_RECEIVERS:
        raise ValueError(f"{name} is obsctl's own receiver; choose another name")
    return name


class Webhook(Strict):
    """A URL that gets Alertmanager's webhook JSON."""

    url: SecretRef = Field(examples=["env:ON_CALL_WEBHOOK_URL"])
    """Where to send it; a reference, because such URLs often hold a token."""


class Slack(Strict):
    """An incoming webhook of Slack."""

    api_url: SecretRef = Field(examples=["nomad-var:obsctl/slack#api_url"])
    """The incoming webhook's URL, as a reference."""
    channel: Text = Field(examples=["#alerts"])
    """The channel, with its #."""


class PagerDuty(Strict):
    """An Events API v2 integration of PagerDuty."""

    routing_key: SecretRef = Field(examples=["file:/etc/obsctl/pagerduty-routing-key"])
    """The integration key, as a reference."""


class Email(Strict):
    """A mailbox, through an SMTP server."""

    to: Text = Field(examples=["on-call@example.org"])
    """The address that gets the mail."""
    sender: Text = Field(alias="from", examples=["obsctl@example.org"])
    """The address it comes from."""
    smarthost: Text = Field(examples=["mail.example.org:587"])
    """The SMTP server as host:port."""
    username: Text | None = Field(default=None, examples=["obsctl"])
    """The user at the SMTP server."""
    password: SecretRef | None = Field(default=None, examples=["env:SMTP_PASSWORD"])
    """The user's password, as a reference."""
    require_tls: bool = True
    """Send only through TLS."""


class Receiver(Strict):
    """One place that alerts go to; all its channels are notified."""

    name: Annotated[Name, AfterValidator(_not_our_own)] = Field(examples=["on-call"])
    """What it is called in Alertmanager; not alert-sink or heartbeat, which are obsctl's own."""
    webhook: Webhook | None = None
    """Notify a webhook."""
    slack: Slack | None = None
    """Notify a Slack channel."""
    pagerduty: PagerDuty | None = None
    """Notify PagerDuty."""
    email: Email | None = None
    """Notify by e-mail."""
    severities: tuple[SeverityName, ...] = Field(default=(), examples=[["critical"]])
    """Only alerts with one of these severities; empty: all."""

    @model_validator(mode="before")
    @classmethod
    def _has_a_channel(cls, value: object) -> object:
        if isinstance(value, dict) and not any(channel in value for channel in CHANNELS):
            raise ValueError(f"a receiver needs at least one of {', '.join(CHANNELS)}")
        return value

    @property
    def item(self) -> str:
        """How the items of its secrets begin: a Nomad template takes no item with a dash (`{{ .name }}`)."""
        return self.name.replace("-", "_")

    def secrets(self) -> Iterator[tuple[str, SecretRef]]:
        if self.webhook:
            yield f"{self.item}_webhook_url", self.webhook.url
        if self.slack:
            yield f"{self.item}_slack_api_url", self.slack.api_url
        if self.pagerduty:
            yield f"{self.item}_pagerduty_routing_key", self.pagerduty.routing_key
        if self.email and self.email.password:
            yield f"{self.item}_email_password", self.email.password


class RuleOverride(Strict):
    """Changes one shipped alert without a fork of its file."""

    enabled: bool = True
    """false takes the alert out."""
    pending: Duration | None = Field(default=None, alias="for", examples=["5m"])
    """How long its condition must hold, instead of timing.for."""
    severity: SeverityName | None = Field(default=None, examples=["warning"])
    """Its severity label."""
    labels: dict[LabelName, str] = Field(default={}, examples=[{"team": "platform"}])
    """Labels to add or change."""
    annotations: dict[LabelName, str] = Field(
        default={}, examples=[{"runbook_url": "https://example.org/runbooks/instance-down"}]
    )
    """Annotations to add or change."""


class Alerting(Strict):
    """Who hears of an alert, and what is changed in the rules."""

    receivers: tuple[Receiver, ...] = ()
    """Who is notified; with none, alert-sink alone. Each has one or more of webhook, slack, pagerduty and email."""
    copy_to_sink: bool = True
    """Whether alert-sink gets what the receivers get. Without the copy a drill cannot see a delivery."""
    rules: dict[str, RuleOverride] = Field(default={}, examples=[{"InstanceDown": {}}])
    """Changes to shipped alerts, by alert name."""
    rule_files: tuple[Text, ...] = Field(default=(), examples=[["my-rules/*.yml"]])
    """Your own Prometheus rule files: globs, relative to obsctl.yaml."""

    def secrets(self) -> dict[str, SecretRef]:
        """Item of Alertmanager's Nomad Variable (and name of its file) -> reference."""
        return dict(sorted(item for receiver in self.receivers for item in receiver.secrets()))

    @model_validator(mode="after")
    def _names_are_unique(self) -> Alerting:
        first: dict[str, int] = {}
        for number, receiver in enumerate(self.receivers):
            if first.setdefault(receiver.name, number) != number:
                path, other = (("receivers", each, "name") for each in (number, first[receiver.name]))
                raise Clash(Misfit(path, f"receivers[{first[receiver.name]}] has this name too", other))
        return self
