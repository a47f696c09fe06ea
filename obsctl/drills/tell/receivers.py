"""What the journal says of each receiver, for people and for the verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from obsctl import names
from obsctl.drills.tell.journal import Record
from obsctl.model import Json

FAILURES = ("failed", "retried", "nothing")
STATES = ("sent", "silent", "unasked", *FAILURES)
"""sent: Alertmanager got the receiver's "ok" for each notification. silent: its time intervals mute it now. unasked:
it does not want to hear of ends. failed: Alertmanager gave up. retried: requests failed, and it still tries. nothing:
too few requests were made."""


def place(row: Json) -> str:
    return f"{row['receiver']} ({row['integration']})"


def of_people(rows: Sequence[Json]) -> list[Json]:
    """Without alert-sink's, of which the stages tell exactly."""
    return [row for row in rows if row["receiver"] != names.SINK_RECEIVER or row["state"] in FAILURES]


def words(row: Json, stage: str, reference: float) -> str:
    """What became of it. reference: the moment (Unix seconds) from which the times count."""
    if row["state"] == "silent":
        return f"muted now by {', '.join(row['silent_by'])}, so not proven"
    if row["state"] == "unasked":
        return "send_resolved is false, so it is not told of the end"
    if row["state"] in FAILURES:
        return f"not {stage}: {_why(row)}"
    begin, end = (at - reference for at in row["within"])
    failed = f", after {row['requests_failed']} requests that failed" if row["requests_failed"] else ""
    return f"{max(0.0, begin):.1f} to {end:.1f} s, {row['notifications']} sent{failed}"


def failures(records: Sequence[Record], stage: str, reached: Sequence[str]) -> str:
    """Who did not get it, and why; "" when nobody. reached: the alerts that alert-sink got, whatever was counted."""
    lacking = [
        f"not {stage} to {place(row)}: {_why(row)}"
        for row in _rows(records, stage)
        if row["state"] in FAILURES and not (row["receiver"] == names.SINK_RECEIVER and row["alert"] in reached)
    ]
    return "; ".join(dict.fromkeys(lacking))


def lines(records: Sequence[Record]) -> Iterator[str]:
    """For the report: one of each receiver and stage, and what was not counted."""
    facts = {record.kind: record.data for record in records}
    references = {"delivered": ("injected", "effect_at"), "resolved": ("reverted", "back_at")}
    for stage, (kind, key) in references.items():
        for row in of_people(_rows(records, stage)):
            yield f"  {stage:10} to {place(row)}: {words(row, stage, facts[kind][key])}"
    if any(record.kind == "receivers" and not record.data["is_counted"] for record in records):
        yield "  Alertmanager does not tell what it sent to which receiver: the sink alone is proven"


def document(records: Sequence[Record]) -> list[Json]:
    """One of each receiver, alert and stage. within: Unix seconds."""
    return [{"stage": stage, **row} for stage in ("delivered", "resolved") for row in _rows(records, stage)]


def _rows(records: Sequence[Record], stage: str) -> list[Json]:
    lists = (record.data for record in records if record.kind == "receivers" and record.data["stage"] == stage)
    return [row for data in lists for row in data["rows"]]


def _why(row: Json) -> str:
    if row["state"] == "nothing":
        count = f"{row['requests']} of {row['expected']} notifications" if row["requests"] else "nothing"
        return f"Alertmanager sent {count} in time"
    reasons = f" ({', '.join(sorted(row['reasons']))})" if row["reasons"] else ""
    failed = f"{row['requests_failed']} of {row['requests']} requests failed"
    trouble = f"Alertmanager gave up{reasons}" if row["state"] == "failed" else failed
    return f"{trouble}: {row['log']}" if row["log"] else trouble
