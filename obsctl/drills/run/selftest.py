"""Drills of which something is broken on purpose: each must end in the verdict that names what is broken.

What is broken ends by itself, should obsctl die: a silence has an end, and the warden puts the service back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from obsctl import lease
from obsctl.drills.plan import steady
from obsctl.drills.plan.experiment import Experiment
from obsctl.drills.plan.forecast import Forecast
from obsctl.drills.plan.target import Target, find
from obsctl.drills.run.guard import Guard
from obsctl.drills.run.runner import Drill, Options
from obsctl.drills.tell.journal import Journal, Record, new_id
from obsctl.drills.tell.verdict import judge
from obsctl.drills.world import World
from obsctl.errors import ObsctlError
from obsctl.lease import Lease, Locked
from obsctl.model import Event, Finding, Json

COMMAND = "drill selftest"
PATIENCE = 5.0
"""Seconds that a stage may take beyond its forecast maximum and a group_interval."""
STEADY_WITHIN = 120.0
"""Seconds after a case until all is steady for the next."""


@dataclass
class Trial:
    """A drill that a case breaks: its world and target, and whether it is told to stop."""

    world: World
    target: Target
    is_interrupted: bool = False

    @property
    def forecast(self) -> Forecast:
        return next(iter(self.target.forecasts().values()))

    @property
    def options(self) -> Options:
        return Options(margin=PATIENCE + self.forecast.settings.group_interval)


Break = Callable[[Trial], AbstractContextManager[None]]
"""Breaks something while its block runs."""


@contextmanager
def _silence(trial: Trial, seconds: float) -> Iterator[None]:
    """Over the expected alert, for so long at most."""
    alertmanager, until = trial.world.programs.alertmanager, trial.world.clock.now() + seconds
    labels = next(iter(trial.target.experiment.expect.values()))
    silence = alertmanager.silence(labels, until=until, comment=f"obsctl {COMMAND}")
    try:
        yield
    finally:
        alertmanager.expire(silence)


def a_silence(trial: Trial) -> AbstractContextManager[None]:
    return _silence(trial, trial.options.total(trial.target))


def a_silence_that_ends_late(trial: Trial) -> AbstractContextManager[None]:
    """The alert is notified when the silence has ended, outside its band and inside the margin."""
    return _silence(trial, trial.forecast.band("delivered").maximum + 1)


@contextmanager
def nothing(_: Trial) -> Iterator[None]:
    yield


@contextmanager
def an_interrupt(trial: Trial) -> Iterator[None]:
    trial.is_interrupted = True
    yield


@contextmanager
def another_version(trial: Trial) -> Iterator[None]:
    """As if somebody had deployed the job after the drill looked at it."""
    job = trial.target.job
    trial.target = replace(trial.target, job={**job, "Version": job["Version"] - 1})
    yield


@dataclass(frozen=True, slots=True)
class Case:
    """One way to break a drill, and what has to come of it.

    outcome, says: the verdict, and words that its reason must have. at: the record of the journal after which it
    breaks, "" before the drill. It is mended before the service is put back.
    """

    name: str
    title: str
    outcome: str
    says: str
    breaks: Break
    at: str = ""


CASES = (
    Case("silenced", "a silence covers the alert", "NOT_STEADY", "silence", a_silence),
    Case("changed", "the job has changed since it was found", "NOT_INJECTED", "version", another_version),
    Case("interrupted", "somebody presses Ctrl-C", "ABORTED", "interrupted", an_interrupt, at="injected"),
    Case("silenced-later", "a silence begins during the fault", "UNDELIVERED", "the silence", a_silence, at="injected"),
    Case("late", "the notification is held up", "LATE", "delivered after", a_silence_that_ends_late, at="injected"),
    Case("nothing", "nothing is broken", "PROVEN", "delivered", nothing),
)
SECOND = Case("second", "another command holds the lock", "LOCKED", "is locked", nothing)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case. drill: the id of its journal, "" when there is none."""

    case: Case
    outcome: str
    exit_code: int
    reason: str
    drill: str = ""

    @property
    def is_as_designed(self) -> bool:
        return self.outcome == self.case.outcome and self.case.says in self.reason

    def to_dict(self) -> Json:
        case = {"name": self.case.name, "title": self.case.title, "expected": self.case.outcome}
        own = {"outcome": self.outcome, "exit_code": self.exit_code, "reason": self.reason, "drill": self.drill}
        return {**case, **own, "as_designed": self.is_as_designed}


def run(experiment: Experiment, world: World, held: Lease, folder: Path) -> Iterator[Result]:
    """Every case, one after the other. folder: of the journals.

    Raises ObsctlError when the stack is not steady, before the first case or after one, and Interrupted.
    """
    _wait_steady(experiment, world, held)
    yield _second_holder(world)
    for case in CASES:
        world.emit(Event(case.name, "start", case.title))
        yield _drill(case, Trial(world, find(experiment, world)), held, folder)
        _wait_steady(experiment, world, held)


def _second_holder(world: World) -> Result:
    try:
        with lease.hold(world.consul, world.stack, COMMAND, clock=world.clock):
            return Result(SECOND, "none", 0, "two commands hold the lock of the stack")
    except Locked as error:
        return Result(SECOND, "LOCKED", error.exit_code, error.message)


class _Followed(Journal):
    """A journal each of whose records is followed by something."""

    then: Callable[[Record], None]

    def append(self, kind: str, **data: Any) -> Record:
        record = super().append(kind, **data)
        self.then(record)
        return record


def _drill(case: Case, trial: Trial, held: Lease, folder: Path) -> Result:
    """Raises ObsctlError when what was broken could not be mended."""
    not_mended: list[ObsctlError] = []
    with ExitStack() as broken:

        def mend() -> None:
            try:
                broken.close()
            except ObsctlError as error:  # the drill goes on putting its own things back
                not_mended.append(error)

        def follow(record: Record) -> None:
            if record.kind == case.at:
                broken.enter_context(case.breaks(trial))
            elif record.kind == "reverting":
                mend()

        if not case.at:
            broken.enter_context(case.breaks(trial))
        world = replace(trial.world, interrupted=lambda: trial.is_interrupted or trial.world.interrupted())
        title = f"{trial.target.experiment.title} (self test: {case.title})"
        target = replace(trial.target, experiment=replace(trial.target.experiment, title=title))
        drill = new_id(target.experiment.fault, target.experiment.service)
        with closing(_Followed.create(folder, drill, clock=world.clock)) as journal:
            journal.then = follow
            Drill(target, world, journal, held, trial.options).run()
        mend()
    for error in not_mended:
        what = f"this was not mended: {case.title}: {error.message}"
        raise ObsctlError(what, hint=f"it ends by itself within {trial.options.total(trial.target):.0f} s")
    verdict = judge(journal.records)
    return Result(case, verdict.outcome, verdict.exit_code, verdict.reason, drill)


def _wait_steady(experiment: Experiment, world: World, held: Lease) -> None:
    findings: list[Finding] = []

    def is_steady() -> bool:
        nonlocal findings
        findings = steady.findings(experiment, world)
        return not findings

    until = world.clock.now() + STEADY_WITHIN
    if not Guard(world, held).wait_for(is_steady, until=until):
        what = f"the stack is not steady, so nothing can be tested: {steady.in_words(findings)}"
        raise ObsctlError(what, hint=findings[0].hint)
