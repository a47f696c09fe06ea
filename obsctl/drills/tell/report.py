"""The text report of a drill, made from its journal alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from obsctl.drills.plan.forecast import Forecast
from obsctl.drills.tell import receivers
from obsctl.drills.tell.journal import Record, read
from obsctl.drills.tell.verdict import Stage, Verdict, judge
from obsctl.errors import ObsctlError
from obsctl.model import Json

Report = TypeVar("Report")


def forecast_table(forecasts: Mapping[str, Forecast]) -> str:
    """The forecasts of all alerts as columns."""
    heads = "".join(f"{head:>8}" for head in ("min", "mean", "p50", "p90", "max"))
    lines = [f"  {'stage':10}{heads}   seconds since"]
    for alert, forecast in forecasts.items():
        lines += _heading(alert, len(forecasts))
        for band in forecast.bands:
            since = "the fault" if band.since == "fault" else "the service is back"
            values = (band.minimum, band.mean, band.p50, band.p90, band.maximum)
            lines.append(f"  {band.stage:10}{''.join(f'{value:8.1f}' for value in values)}   {since}")
    return "\n".join(lines)


def text(records: Sequence[Record]) -> str:
    """The whole report: what was done, each stage against its forecast, the verdict."""
    verdict, started = judge(records), records[0].data
    lines = [
        f"Drill {started['drill']}",
        f"  {started['experiment']['title']}",
        f"  began {_clock(records[0].at)}, journal of {len(records)} records, obsctl {started['version']}",
        "",
        f"  {'stage':10} {'took':>7}   {'forecast':>15} {'mean':>7} {'p50':>7} {'p90':>7}",
        *_stage_lines(verdict.stages, len(started["experiment"]["expect"])),
        *receivers.lines(records),
        "",
        *[line for record in records if (line := _moment(record))],
        "",
        conclusion(verdict),
    ]
    return "\n".join(lines)


def conclusion(verdict: Verdict) -> str:
    return f"{verdict.outcome}: {verdict.reason}"


def again(path: Path, make: Callable[[Sequence[Record]], Report]) -> Report:
    """What `make` makes of a drill's journal. Raises ObsctlError when that is not as obsctl writes it."""
    records = read(path)
    try:
        return make(records)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        message = f"the journal {path} holds facts that obsctl does not write ({type(error).__name__})"
        raise ObsctlError(message, hint="it was changed after it was written") from error


def document(records: Sequence[Record]) -> dict[str, Any]:
    """The report as data: verdict, stages and the journal itself."""
    return {
        "id": records[0].data["drill"],
        "verdict": judge(records).to_dict(),
        "receivers": receivers.document(records),
        "journal": [{name: getattr(record, name) for name in Record.__slots__} for record in records],
    }


def _heading(alert: str, alerts: int) -> list[str]:
    """The alert's name, where there are several."""
    return [f" {alert}"] if alerts > 1 else []


def _stage_lines(stages: Sequence[Stage], expected: int) -> Iterator[str]:
    """expected: how many alerts the drill expects, also when not all came."""
    alerts = {stage.alert: [other for other in stages if other.alert == stage.alert] for stage in stages}
    for alert, own in alerts.items():
        yield from _heading(alert, expected)
        for stage in own:
            band = f"{stage.band.minimum:.1f} - {stage.band.maximum:.1f}"
            mark = "" if stage.in_band else "   outside"
            usual = " ".join(f"{value:7.1f}" for value in (stage.band.mean, stage.band.p50, stage.band.p90))
            yield f"  {stage.name:10} {stage.seconds:6.1f}s   {band:>15} {usual}{mark}"


def _moment(record: Record) -> str:
    """One line for the records that a reader wants in order of time."""
    data = record.data
    of = f" of {data['alert']}" if data.get("alert") else ""
    described = {
        "armed": lambda: f"armed: the warden on {data['ack'].get('host', '?')} has the recipe",
        "injected": lambda: f"injected: effect after {data['effect_at'] - data['requested_at']:.1f} s",
        "not_injected": lambda: f"not injected: {data['reason']}",
        "missed": lambda: f"missed {data['stage']}{of}: {data['why'] or 'the reason is not known'}",
        "quiet": lambda: _quiet(data),
        "aborted": lambda: f"aborted: {data['reason']}",
        "waiting": lambda: f"waiting to be steady again: {data['why']}",
        "reverted": lambda: f"reverted ({data['state']}): {data['detail']}",
        "revert_failed": lambda: f"REVERT FAILED: {data['reason']}; by hand: {'; '.join(data['commands'])}",
        "recovered": lambda: f"put back by {data['by']} ({data['state']}): {data['detail']}",
    }
    return f"  {_clock(record.at)}  {described[record.kind]()}" if record.kind in described else ""


def _quiet(data: Json) -> str:
    return f"fired: {', '.join(data['fired'])}" if data["fired"] else f"quiet for {data['seconds']:.1f} s"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
