"""A drill as checks, for CI systems: each step and each stage of each alert, and the verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from obsctl.drills.plan.forecast import Band, Forecast
from obsctl.drills.tell.journal import Record
from obsctl.drills.tell.verdict import Stage, judge
from obsctl.junit import Check, Outcome
from obsctl.model import Json


def checks(records: Sequence[Record]) -> list[Check]:
    """The last one, the verdict, has passed only if the drill is PROVEN: so a suite is green exactly then."""
    return list(_checks(records))


def _checks(records: Sequence[Record]) -> Iterator[Check]:
    verdict, started = judge(records), records[0].data
    suite, last = str(started["experiment"]["title"]), {record.kind: record.data for record in records}
    yield _step(suite, "steady before", _listed(last, "gate"))
    yield _step(suite, "revert in place", _ended(last, "armed", "not_armed"))
    yield _step(suite, "fault injected", _ended(last, "injected", "not_injected"))
    reached = {(stage.alert, stage.name): stage for stage in verdict.stages}
    missed = {(data["alert"], data["stage"]): data["why"] for data in _of_kind(records, "missed")}
    for alert in started["experiment"]["expect"]:
        for band in Forecast.from_dict(started["forecasts"][alert]).bands:
            key = (alert, band.stage)
            yield _stage(suite, f"{alert}: {band.stage}", band, reached.get(key), missed.get(key))
    for alert in started["experiment"]["forbid"]:
        quiet = last.get("quiet")
        lack = None if quiet is None else "it fired" if alert in quiet["fired"] else ""
        yield _step(suite, f"{alert}: stays away", lack)
    yield _step(suite, "put back", _ended(last, "reverted" if "reverted" in last else "recovered", "revert_failed"))
    yield _step(suite, "steady again", _listed(last, "steady"))
    outcome = Outcome.FAILED if verdict.exit_code else Outcome.PASSED
    yield Check(suite, "verdict", outcome, f"{verdict.outcome}: {verdict.reason}")


def _of_kind(records: Sequence[Record], kind: str) -> Iterator[Json]:
    return (record.data for record in records if record.kind == kind)


def _step(suite: str, name: str, lack: str | None) -> Check:
    """lack: what is wrong, "" when all is right; None when the drill did not come so far."""
    if lack is None:
        return Check(suite, name, Outcome.SKIPPED, "the drill did not come so far")
    return Check(suite, name, Outcome.FAILED if lack else Outcome.PASSED, lack)


def _listed(last: dict[str, Json], kind: str) -> str | None:
    if kind not in last:
        return None
    return "; ".join(f"{finding['where']}: {finding['what']}" for finding in last[kind]["findings"])


def _ended(last: dict[str, Json], well: str, badly: str) -> str | None:
    if well in last:
        return ""
    return str(last[badly]["reason"]) if badly in last else None


def _stage(suite: str, name: str, band: Band, stage: Stage | None, why: str | None) -> Check:
    forecast = f"forecast {band.minimum:.1f} to {band.maximum:.1f} s, mean {band.mean:.1f}"
    if stage is not None:
        text = f"after {stage.seconds:.1f} s, {forecast}"
        return Check(suite, name, Outcome.PASSED if stage.in_band else Outcome.FAILED, text)
    if why is None:
        return _step(suite, name, None)
    return Check(suite, name, Outcome.FAILED, f"{why or 'the reason is not known'}; {forecast}")
