"""Receivers: the places that alerts go to, which alerts, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar
from urllib.parse import quote

from pydantic import AfterValidator, Field, model_validator

from obsctl import names
from obsctl.config import receiver_secrets
from obsctl.config.receiver_secrets import Settings
from obsctl.config.secrets import SecretRef
from obsctl.config.shapes import Clash, KeyPath, Misfit, Name, SeverityName, Shape, Strict, Text

OWN_RECEIVERS = (names.SINK_RECEIVER, names.HEARTBEAT_RECEIVER)
CHANNELS = ("webhook", "slack", "pagerduty", "email", "msteams", "telegram", "discord", "opsgenie")
_SUFFIX = "_configs"
TypeKey = Annotated[
    str, Shape(rf"[a-z0-9_]+{_SUFFIX}", "must be what Alertmanager calls it in a receiver, like victorops_configs")
]
HostAndPort = Annotated[
    str, Shape(r"(\[[^\]\s]+\]|[^\s:\[\]]*):[^\s:]+", "must be host:port, like mail.example.org:587")
]


def _not_our_own(name: str) -> str:
    if name in OWN_RECEIVERS:
        raise ValueError(f"{name} is obsctl's own receiver; choose another name")
    return name


class Channel(Strict):
    """One way to notify. TYPE: what Alertmanager calls it. TERMS: our key -> Alertmanager's, where they differ."""

    TYPE: ClassVar[str]
    TERMS: ClassVar[Mapping[str, str]] = {}

    def settings(self) -> dict[str, object]:
        """In Alertmanager's words, with a reference in the place of each secret."""
        written = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {self.TERMS.get(key, key): value for key, value in written.items() if value != {}}


class HttpChannel(Channel):
    """A channel that is reached by HTTP."""

    http_config: dict[str, object] = Field(
        default={}, examples=[{"authorization": {"credentials": "env:ON_CALL_TOKEN"}}]
    )
    """How to talk to it, in Alertmanager's words, such as authorization or proxy_url; secrets are references."""


class Webhook(HttpChannel):
    """A URL that gets Alertmanager's webhook JSON."""

    TYPE: ClassVar[str] = "webhook"
    url: SecretRef = Field(examples=["env:ON_CALL_WEBHOOK_URL"])
    """Where to send it; a reference, because such URLs often hold a token."""


class Slack(HttpChannel):
    """An incoming webhook of Slack."""

    TYPE: ClassVar[str] = "slack"
    api_url: SecretRef = Field(examples=["nomad-var:obsctl/slack#api_url"])
    """The incoming webhook's URL, as a reference."""
    channel: Text = Field(examples=["#alerts"])
    """The channel, with its #."""


class PagerDuty(HttpChannel):
    """An Events API v2 integration of PagerDuty."""

    TYPE: ClassVar[str] = "pagerduty"
    routing_key: SecretRef = Field(examples=["file:/etc/obsctl/pagerduty-routing-key"])
    """The integration key, as a reference."""


class Email(Channel):
    """A mailbox, through an SMTP server."""

    TYPE: ClassVar[str] = "email"
    TERMS: ClassVar[Mapping[str, str]] = {"username": "auth_username", "password": "auth_password"}
    to: Text = Field(examples=["on-call@example.org"])
    """The address that gets the mail."""
    sender: Text = Field(alias="from", examples=["obsctl@example.org"])
    """The address it comes from."""
    smarthost: HostAndPort = Field(examples=["mail.example.org:587"])
    """The SMTP server as host:port."""
    username: Text | None = Field(default=None, examples=["obsctl"])
    """The user at the SMTP server."""
    password: SecretRef | None = Field(default=None, examples=["env:SMTP_PASSWORD"])
    """The user's password, as a reference."""
    require_tls: bool = True
    """Send only through TLS."""


class MsTeams(HttpChannel):
    """A workflow of Microsoft Teams that posts what its webhook gets."""

    TYPE: ClassVar[str] = "msteamsv2"
    webhook_url: SecretRef = Field(examples=["env:TEAMS_WEBHOOK_URL"])
    """The workflow's URL, as a reference."""


class Telegram(HttpChannel):
    """A bot of Telegram."""

    TYPE: ClassVar[str] = "telegram"
    bot_token: SecretRef = Field(examples=["env:TELEGRAM_BOT_TOKEN"])
    """The bot's token, as a reference."""
    chat_id: Annotated[int, Field(strict=True)] = Field(examples=[-1001234567890])
    """The chat that gets the message; a group's number is negative."""


class Discord(HttpChannel):
    """A webhook of a channel of Discord."""

    TYPE: ClassVar[str] = "discord"
    webhook_url: SecretRef = Field(examples=["env:DISCORD_WEBHOOK_URL"])
    """The webhook's URL, as a reference."""


class Opsgenie(HttpChannel):
    """An API integration of Opsgenie."""

    TYPE: ClassVar[str] = "opsgenie"
    api_key: SecretRef = Field(examples=["env:OPSGENIE_API_KEY"])
    """The integration's key, as a reference."""
    api_url: Text | None = Field(default=None, examples=["https://api.eu.opsgenie.com/"])
    """Where its API is; default: https://api.opsgenie.com/."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry below a receiver of Alertmanager's configuration.

    path: where it stands in obsctl.yaml, from the receiver on. item: how the names of its secrets begin. settings: in
    Alertmanager's words, with references. terms: Alertmanager's key -> ours, where they differ.
    """

    kind: str
    path: KeyPath
    item: str
    settings: Settings
    terms: Mapping[str, str] = field(default_factory=dict)

    def our_path(self, path: KeyPath) -> KeyPath:
        """From the receiver on: where the setting that Alertmanager has at this path stands in obsctl.yaml."""
        return (*self.path, *(self.terms.get(str(step), step) for step in path[:1]), *path[1:])

    def secrets(self) -> dict[str, SecretRef]:
        """Name of a secret -> reference."""
        refs: dict[str, SecretRef] = {}
        receiver_secrets.with_files(self.kind, self.settings, lambda path, ref: refs.setdefault(self._name(path), ref))
        return refs

    def as_written(self) -> dict[str, object]:
        """As it stands in Alertmanager's configuration."""

        def file_of(path: KeyPath, _: SecretRef) -> str:
            return f"{receiver_secrets.folder(self.kind, path)}/{self._name(path)}"

        return receiver_secrets.with_files(self.kind, self.settings, file_of) | {
            "send_resolved": self.settings.get("send_resolved", True)
        }

    def _name(self, path: KeyPath) -> str:
        return "_".join([self.item, *(quote(str(step), safe="") for step in self.our_path(path)[len(self.path) :])])


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
    msteams: MsTeams | None = None
    """Notify Microsoft Teams."""
    telegram: Telegram | None = None
    """Notify a chat of Telegram."""
    discord: Discord | None = None
    """Notify a channel of Discord."""
    opsgenie: Opsgenie | None = None
    """Notify Opsgenie."""
    alertmanager: dict[TypeKey, tuple[dict[str, object], ...]] = Field(
        default={}, examples=[{"victorops_configs": [{"api_key": "env:VICTOROPS_API_KEY", "routing_key": "ops"}]}]
    )
    """Everything else that Alertmanager knows, as it stands in a receiver of its own configuration; secrets are
    references."""
    severities: tuple[SeverityName, ...] = Field(default=(), examples=[["critical"]])
    """Only alerts with one of these severities; empty: all."""
    matchers: tuple[Text, ...] = Field(default=(), examples=[['team="platform"', 'service!~"test-.*"']])
    """Only alerts whose labels all of these fit, as Alertmanager writes matchers; empty: all."""
    mute_time_intervals: tuple[Name, ...] = Field(default=(), examples=[["weekends"]])
    """Not notified in any of these: names of alerting.time_intervals."""
    active_time_intervals: tuple[Name, ...] = Field(default=(), examples=[["office-hours"]])
    """Notified only in these: names of alerting.time_intervals; empty: always."""

    @model_validator(mode="before")
    @classmethod
    def _has_a_channel(cls, value: object) -> object:
        if isinstance(value, dict) and not any(channel in value for channel in (*CHANNELS, "alertmanager")):
            raise ValueError(f"a receiver needs at least one of {', '.join(CHANNELS)}, alertmanager")
        return value

    @model_validator(mode="after")
    def _notifies_and_keeps_secrets(self) -> Receiver:
        if not any(self.entries()):
            raise Clash(Misfit(("alertmanager",), "has no entry, so nobody would be notified"))
        misfits = [
            Misfit(entry.our_path(misfit.path), misfit.words)
            for entry in self.entries()
            for misfit in receiver_secrets.misfits(entry.kind, entry.settings)
        ]
        if misfits:
            raise Clash(*misfits)
        return self

    def route(self) -> dict[str, tuple[str, ...]]:
        """Which alerts it gets, and when, as Alertmanager's routes have it."""
        severities = (f'severity=~"{"|".join(self.severities)}"',) if self.severities else ()
        return {
            "matchers": severities + self.matchers,
            "mute_time_intervals": self.mute_time_intervals,
            "active_time_intervals": self.active_time_intervals,
        }

    def entries(self) -> Iterator[Entry]:
        """What stands below it in Alertmanager's configuration; the entries of one type follow each other."""
        item = self.name.replace("-", "_")
        entries = []
        for key in CHANNELS:
            channel: Channel | None = getattr(self, key)
            if channel:
                terms = {theirs: ours for ours, theirs in channel.TERMS.items()}
                entries.append(Entry(channel.TYPE, (key,), f"{item}_{key}", channel.settings(), terms))
        for key, of_type in self.alertmanager.items():
            kind = key.removesuffix(_SUFFIX)
            for number, settings in enumerate(of_type):
                entries.append(Entry(kind, ("alertmanager", key, number), f"{item}_{kind}_{number}", settings))
        return iter(sorted(entries, key=lambda entry: entry.kind))

    def configuration(self) -> dict[str, list[dict[str, object]]]:
        """What stands below its name in Alertmanager's configuration."""
        lists: dict[str, list[dict[str, object]]] = {}
        for entry in self.entries():
            lists.setdefault(f"{entry.kind}{_SUFFIX}", []).append(entry.as_written())
        return lists
