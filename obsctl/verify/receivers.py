"""A test notification to each receiver, counted by Alertmanager itself.

Alertmanager's configuration has a route for it: an alert with the label obsctl_test goes to the receiver that it names,
and to nobody else. It is posted with its end, so that it never stays, whatever happens to obsctl.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import yaml

from obsctl import names
from obsctl.clients.tally import Tallies, Tally, since
from obsctl.errors import DeadlineExceeded
from obsctl.junit import Check, Outcome
from obsctl.model import Event, Json
from obsctl.stack.routing import routes
from obsctl.verify.site import Site, judge
from obsctl.wait import wait_until

_LASTS = 60.0
"""Seconds that a test alert fires at most."""
_PATIENCE = 30.0
"""Seconds that a notification may take."""
_SUITE = "receivers"
_DEPLOY = "obsctl deploy writes it"


def receivers(site: Site) -> Iterator[Check]:
    """alert-sink always; the others, which people read, when that is allowed."""
    parts = site.config.components
    own = [names.SINK_RECEIVER] if parts.alert_sink.enabled else []
    for name in own:
        yield _check(site, name, {"webhook": 1})
    for receiver in site.config.alerting.receivers:
        if site.receivers:
            yield _check(site, receiver.name, Counter(entry.kind for entry in receiver.entries()))
        else:
            why = "nobody was notified; --receivers sends a test to the people behind it"
            yield Check(_SUITE, receiver.name, Outcome.SKIPPED, why)


def _check(site: Site, receiver: str, channels: dict[str, int]) -> Check:
    """channels: type -> how many of it the receiver has."""
    alertmanager = site.clients.programs.alertmanager
    labels = {
        "alertname": names.TEST_ALERT,
        names.TEST_LABEL: receiver,
        "run": secrets.token_hex(4),
        "stack": site.config.stack,
    }
    reached = {route.receiver for route in routes(yaml.safe_load(alertmanager.status()["config"]["original"]), labels)}
    if reached != {receiver}:
        lack = f"no alert reaches it alone, so nothing was sent: a test would go to {', '.join(sorted(reached))}"
        return judge(_SUITE, receiver, f"{lack}; Alertmanager has no route for tests of it ({_DEPLOY})")
    before = alertmanager.tallies_each()
    if not any(name for counted_there in before.values() for name, _ in counted_there):
        return judge(_SUITE, receiver, f"Alertmanager does not count by receiver, so nothing was sent ({_DEPLOY})")
    site.emit(Event(receiver, "progress", "waiting for the test notification"))
    alertmanager.post([_alert(labels, receiver, site.clock.now(), _LASTS)])
    try:
        counted = _count(site, receiver, channels, before)
    finally:
        alertmanager.post([_alert(labels, receiver, site.clock.now(), 0)])
    return judge(_SUITE, receiver, _lack(counted, channels), _words(counted))


def _alert(labels: dict[str, str], receiver: str, now: float, seconds: float) -> Json:
    """seconds: how long it lasts from now on."""
    annotations = {
        "summary": f"Test of the receiver {receiver}",
        "description": "obsctl verify sends this. Nothing is wrong, and nothing is to be done.",
    }
    times = {"endsAt": datetime.fromtimestamp(now + seconds, UTC).isoformat()}
    if seconds:
        times["startsAt"] = datetime.fromtimestamp(now, UTC).isoformat()
    return {"labels": labels, "annotations": annotations, **times}


def _count(site: Site, receiver: str, channels: dict[str, int], before: dict[str, Tallies]) -> dict[str, Tally]:
    """What Alertmanager has counted since: of each channel, when all have got it or there is no more time."""
    counted: dict[str, Tally] = {}

    def is_delivered() -> bool:
        after = site.clients.programs.alertmanager.tallies_each()
        counted.update({kind: since(before, after, (receiver, kind)) for kind in channels})
        return not _lack(counted, channels)

    with suppress(DeadlineExceeded):
        wait_until(is_delivered, timeout=_PATIENCE, failure="", hint="", interval=0.5, clock=site.clock)
    return counted


def _lack(counted: dict[str, Tally], channels: dict[str, int]) -> str:
    lacks = []
    for kind, count in channels.items():
        tally = counted[kind]
        if tally.delivered < count:
            tried = (
                f"{tally.requests_failed} of {tally.requests} requests failed" if tally.requests else "nothing was sent"
            )
            lacks.append(f"{kind}: {tried} in {_PATIENCE:g} s (obsctl logs alertmanager has the reason)")
    return "; ".join(lacks)


def _words(counted: dict[str, Tally]) -> str:
    return "; ".join(
        f"{kind}: {tally.notifications} sent, {tally.notifications_failed} failed" for kind, tally in counted.items()
    )
