"""Whether each receiver of the expected alerts got them, as Alertmanager itself counts it.

Alertmanager counts by receiver and type of channel, not by alert. So what counts begins with the last look at which the
alert could not have been notified yet: before it fires, or ends.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from obsctl import names
from obsctl.clients.tally import Tallies, Tally, since
from obsctl.drills.plan.channels import Channel
from obsctl.drills.plan.target import Target
from obsctl.drills.run.alertmanager_log import last_failure
from obsctl.drills.run.guard import Guard
from obsctl.drills.tell import receivers
from obsctl.drills.tell.journal import Recorder
from obsctl.drills.world import World
from obsctl.errors import ApiError
from obsctl.model import Json

LOOK_EVERY = 0.5
"""Seconds between two looks at Alertmanager's metrics: a receiver's time is known as exactly as that."""
Counted = dict[str, Tallies]
"""Address of an Alertmanager -> what it has counted."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was counted, between two moments (Unix seconds): of the question and of the answer."""

    counted: Counted
    begin: float
    end: float


@dataclass(slots=True)
class _Receipt:
    """One channel and one alert. before: the last look before it could be notified. steps: the looks (begin, end)
    between which it was notified, or given up. has_come: whether the alert has fired, or ended."""

    alert: str
    channel: Channel
    stage: str
    before: Look
    last: Look
    grown: Tally = field(default_factory=Tally)
    steps: list[tuple[float, float]] = field(default_factory=list)
    has_come: bool = False

    def take(self, look: Look) -> None:
        if not self.has_come:
            self.before = look
        grown = since(self.before.counted, look.counted, (self.channel.receiver, self.channel.kind))
        has_grown, self.grown, begin, self.last = grown != self.grown, grown, self.last.begin, look
        if has_grown and not self.is_open:
            self.steps.append((begin, look.end))

    @property
    def state(self) -> str:
        """One of tell.receivers.STATES."""
        if self.channel.silent_by:
            return "silent"
        if not self.channel.expects(self.stage):
            return "unasked"
        if self.grown.notifications_failed:
            return "failed"
        if self.grown.delivered >= self.channel.expects(self.stage):
            return "sent"
        return "retried" if self.grown.requests_failed else "nothing"

    @property
    def is_open(self) -> bool:
        return self.state in ("nothing", "retried")

    def within(self, came_at: float) -> tuple[float, float] | None:
        """The first step that does not end before the alert came: its own, as far as can be told."""
        return next((step for step in self.steps if step[1] >= came_at), self.steps[-1] if self.steps else None)

    def row(self, world: World, came_at: float) -> Json:
        """As it stands in the journal. came_at: when the alert fired, or ended (Unix seconds)."""
        receiver, kind, grown = self.channel.receiver, self.channel.kind, asdict(self.grown)
        is_failure = self.state in ("failed", "retried")
        log = last_failure(world, receiver, kind, since=self.before.begin) if is_failure else ""
        silent_by, expected = list(self.channel.silent_by), self.channel.expects(self.stage)
        return {"alert": self.alert, "receiver": receiver, "integration": kind, "state": self.state, **grown,
                "expected": expected, "within": self.within(came_at), "log": log, "silent_by": silent_by}  # fmt: skip


class Receipts:
    """Those of one drill: of the alerts, and then of their ends. margin: seconds beyond the maximum of each band."""

    def __init__(self, target: Target, world: World, recorder: Recorder, *, margin: float) -> None:
        self._target = target
        self._world = world
        self._recorder = recorder
        self._margin = margin
        self._receipts: list[_Receipt] = []
        self._looked_at = float("-inf")

    def begin(self) -> None:
        """Before the fault. An Alertmanager that does not count by receiver, or cannot be asked, proves nothing."""
        look = self._ask()
        is_counted = look is not None and any(look.counted.values())
        if look and is_counted:
            expected = self._target.experiment.expect
            every = ((name, channel) for name in expected for channel in self._target.alerts[name].channels)
            self._receipts = [_Receipt(name, channel, "delivered", look, look) for name, channel in every]
        places = dict.fromkeys((each.channel.receiver, each.channel.kind) for each in self._receipts)
        sums = [{"receiver": place[0], "integration": place[1], **asdict(_sum(look, place))} for place in places]
        self._recorder.write("receivers", stage="before", is_counted=is_counted, rows=sums)

    def look(self) -> Look | None:
        """None a moment after the last one. Without Alertmanager the drill goes on: others say that it is away."""
        is_soon = self._world.clock.now() - self._looked_at < LOOK_EVERY
        return self._ask() if self._receipts and not is_soon else None

    def _ask(self) -> Look | None:
        begin = self._looked_at = self._world.clock.now()
        try:
            counted = self._world.programs.alertmanager.tallies_each()
        except ApiError:
            return None
        return Look(counted, begin, self._world.clock.now())

    def take(self, look: Look | None, *, came: Collection[str] = ()) -> None:
        """came: the alerts that fire, or have ended, and so may have been notified when the look was taken."""
        for receipt in self._receipts:
            receipt.has_come = receipt.has_come or receipt.alert in came
            if look is not None:
                receipt.take(look)

    def settle(self, guard: Guard, alerts: Mapping[str, float], reference: float) -> bool:
        """Wait until each channel has got these alerts, or failed, and write down what became of all that came: whether
        everybody has got them.

        alerts: when each of those that alert-sink got fired, or ended. reference: the moment from which they are
        forecast (both Unix seconds). What comes next are the ends of the alerts.
        """
        own = [receipt for receipt in self._receipts if receipt.has_come]
        waiting = [receipt for receipt in own if receipt.alert in alerts and receipt.is_open]

        def over() -> bool:
            self.take(self.look())
            now = self._world.clock.now()
            return not any(receipt.is_open and now < self._latest(receipt, reference) for receipt in waiting)

        if waiting:
            guard.wait_for(over, until=max(self._latest(receipt, reference) for receipt in waiting))
        if own:
            rows = [receipt.row(self._world, alerts.get(receipt.alert, reference)) for receipt in own]
            self._write(own[0].stage, rows, reference)
        lacking = [receipt for receipt in own if receipt.state in receivers.FAILURES]
        self._receipts = [_next(receipt) for receipt in own if receipt.state == "sent"]
        return all(receipt.channel.receiver == names.SINK_RECEIVER and receipt.alert in alerts for receipt in lacking)

    def _latest(self, receipt: _Receipt, reference: float) -> float:
        return reference + receipt.channel.band(receipt.stage).maximum + self._margin

    def _write(self, stage: str, rows: Sequence[Json], reference: float) -> None:
        self._recorder.write("receivers", stage=stage, is_counted=True, rows=rows)
        for row in receivers.of_people(rows):
            state = "failed" if row["state"] in receivers.FAILURES else "ok"
            self._recorder.say(receivers.place(row), state, receivers.words(row, stage, reference))


def _next(receipt: _Receipt) -> _Receipt:
    return replace(receipt, stage="resolved", before=receipt.last, grown=Tally(), steps=[], has_come=False)


def _sum(look: Look | None, place: tuple[str, str]) -> Tally:
    """Of all Alertmanagers."""
    return sum((each.get(place, Tally()) for each in look.counted.values()), Tally()) if look else Tally()
