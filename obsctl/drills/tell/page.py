"""The report as one HTML page that needs nothing else: no script, no font, no picture from anywhere.

All that a journal holds came from servers, alerts and requests, so it is hostile: each text is escaped by the template,
and loses what would turn its direction or what UTF-8 cannot carry.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateRuntimeError
from markupsafe import Markup

from obsctl.drills.plan.experiment import Experiment
from obsctl.drills.tell.done import steps
from obsctl.drills.tell.journal import Record
from obsctl.drills.tell.timeline import fault_of, timeline
from obsctl.drills.tell.verdict import Verdict, judge
from obsctl.model import Json

_FOLDER = Path(__file__).parent / "templates"
_STEERING = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_TONES = {"PROVEN": "good", "LATE": "doubtful", "NOT_STEADY": "doubtful", "ABORTED": "doubtful"}
LONGEST = 20_000
"""Characters of one JSON text; more stays in the journal."""


def html(records: Sequence[Record]) -> str:
    """Raises LookupError and the like for facts that obsctl does not write."""
    verdict, style = judge(records), (_FOLDER / "report.css").read_text(encoding="utf-8")
    style_hash = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = _environment().get_template("report.html")
    try:
        return template.render(style_hash=style_hash, **_values(records, verdict))
    except TemplateRuntimeError as error:
        raise LookupError(error.message) from error


def _values(records: Sequence[Record], verdict: Verdict) -> Json:
    """What the template shows."""
    started, last = records[0].data, {record.kind: record for record in records}
    drawing = timeline(records, verdict)
    return {
        "drill": started["drill"],
        "experiment": started["experiment"],
        "version": started["version"],
        "verdict": verdict,
        "tone": _TONES.get(verdict.outcome, "bad"),
        "began": records[0].at,
        "seconds": records[-1].monotonic - records[0].monotonic,
        "recipe": last["intent"].data.get("recipe") if "intent" in last else None,
        "fault": fault_of(records),
        "timeline": drawing,
        "in_band": sum(stage.in_band for stage in verdict.stages),
        "expected": sum(len(started["forecasts"][alert]["bands"]) for alert in started["experiment"]["expect"]),
        "settings": {name: forecast["settings"] for name, forecast in started["forecasts"].items()},
        "findings": (last["gate"].data["findings"] if "gate" in last else []),
        "steps": list(steps(records)),
        "fired": list(_fired(last, Experiment.from_dict(started["experiment"]))),
        "deliveries": list(_deliveries(records)),
        "records": records,
    }


def _fired(last: dict[str, Record], experiment: Experiment) -> Iterator[Json]:
    """Each alert that fired during the drill, and whether it might."""
    if "steady" not in last:
        return
    before = last["gate"].data.get("active") or [] if "gate" in last else []
    for labels in last["steady"].data["fired"]:
        meant = labels in before or experiment.is_allowed(labels)
        is_old = "was active before" if labels in before else "expected or allowed"
        yield {"labels": labels, "meant": meant, "why": is_old if meant else "must not fire"}


def _deliveries(records: Sequence[Record]) -> Iterator[Json]:
    """What arrived at alert-sink: when, for which receiver, and what it said."""
    for record in records:
        evidence = record.data.get("evidence") or {}
        if record.kind == "stage" and "receiver" in evidence:
            body = evidence.get("payload") or evidence["alert"]
            yield {**record.data, "receiver": evidence["receiver"], "body": body, "is_whole": "payload" in evidence}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, finalize=_clean,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"clock": _clock, "day": _day, "duration": _duration, "pretty": _pretty}
    return environment


def _clean(value: Any) -> Any:
    """As text that UTF-8 can carry (JSON has half characters too) and that reads in the order it is written in."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _STEERING.sub("\ufffd", value.encode("utf-8", "replace").decode())


def _pretty(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… {len(text) - LONGEST} more characters in the journal"


def _clock(at: float) -> str:
    """Time of day with milliseconds, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(seconds: float) -> str:
    """With one decimal; whole seconds with minutes from two minutes on."""
    if abs(seconds) < 120:
        return f"{seconds:.1f} s".replace("-", "\N{MINUS SIGN}")
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
