"""Who outside the stack hears that the alert path is dead: no alert could say so."""

from __future__ import annotations

from pydantic import Field

from obsctl import names
from obsctl.config.secrets import SecretRef
from obsctl.config.shapes import Strict


class DeadMansSwitch(Strict):
    """Who hears, outside the stack, that the heartbeat stopped."""

    silence_webhook: SecretRef | None = Field(default=None, examples=["env:SILENCE_WEBHOOK_URL"])
    """A URL that alert-sink posts to when three heartbeats were missed, and again when they are back: Alertmanager's
    webhook JSON, with the sentence as `text` too. Sent again until it is taken."""
    outside_url: SecretRef | None = Field(default=None, examples=["env:HEARTBEAT_CHECK_URL"])
    """A URL that Alertmanager posts each heartbeat to: a check of healthchecks.io, Dead Man's Snitch or the like, which
    tells you when it hears nothing for longer than timing.heartbeat."""

    def sink_secrets(self) -> dict[str, SecretRef]:
        """Item of alert-sink's Nomad Variable -> reference."""
        return {names.SILENCE_ITEM: self.silence_webhook} if self.silence_webhook else {}

    def alertmanager_secrets(self) -> dict[str, SecretRef]:
        """Item of Alertmanager's Nomad Variable -> reference."""
        return {names.OUTSIDE_ITEM: self.outside_url} if self.outside_url else {}
