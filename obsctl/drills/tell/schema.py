"""The JSON schema of a drill's report (`obsctl --json drill report ID`), for programs that read it.

It says what is always there. More facts may come with any version, so that a reader has to pass over what it does not
know; the number in `schema` rises when one goes or means something else.
"""

from __future__ import annotations

from obsctl.drills.plan.forecast import FAULT_STAGES, REVERT_STAGES
from obsctl.drills.tell.journal import FORMAT
from obsctl.drills.tell.receivers import STATES
from obsctl.drills.tell.verdict import EXIT_CODES
from obsctl.model import Json

_TEXT: Json = {"type": "string"}
_NUMBER: Json = {"type": "number"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_TIME: Json = {"type": "number", "description": "Unix seconds"}
_LABELS: Json = {"type": "object", "additionalProperties": _TEXT}
_HASH: Json = {"type": "string", "pattern": "^([0-9a-f]{64})?$"}


def json_schema() -> Json:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:obsctl:drill:v{FORMAT}",
        "title": "Report of a drill",
        **_object(
            schema={"const": f"obsctl/drill/v{FORMAT}"},
            id={**_TEXT, "description": "of the drill; its journal has this name"},
            verdict=_verdict(),
            receivers=_list(
                _object(stage=_TEXT, alert=_TEXT, receiver=_TEXT, integration=_TEXT, state={"enum": list(STATES)})
            ),
            journal={"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/record"}},
        ),
        "$defs": {"record": _record(), "band": _band(), "finding": _finding()},
    }


def _object(**properties: Json) -> Json:
    """All of these are there, and there may be more."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _verdict() -> Json:
    stage = _object(
        alert=_TEXT, name={"enum": [*FAULT_STAGES, *REVERT_STAGES]}, at=_TIME, band={"$ref": "#/$defs/band"},
        seconds={**_NUMBER, "description": "since the fault's effect, or since all was back"},
        in_band={"type": "boolean"},
    )  # fmt: skip
    outcome, code = {"enum": list(EXIT_CODES)}, {"enum": sorted(set(EXIT_CODES.values()))}
    return _object(outcome=outcome, reason=_TEXT, exit_code=code, stages=_list(stage))


def _band() -> Json:
    seconds = {"minimum": _NUMBER, "mean": _NUMBER, "maximum": _NUMBER}
    return _object(stage=_TEXT, since={"enum": ["fault", "revert"]}, **seconds)


def _finding() -> Json:
    return _object(where=_TEXT, what=_TEXT)


def _record() -> Json:
    kinds = _kinds()
    line = _object(seq=_COUNT, at=_TIME, monotonic=_NUMBER, kind={"enum": list(kinds)}, data={"type": "object"},
                   previous={**_HASH, "description": "SHA-256 of the record before as the journal has it"})  # fmt: skip
    cases = [
        {"if": {"properties": {"kind": {"const": kind}}}, "then": {"properties": {"data": data}}}
        for kind, data in kinds.items()
    ]
    return {**line, "allOf": cases}


def _kinds() -> dict[str, Json]:
    """Kind of record -> its facts."""
    findings, reason = _list({"$ref": "#/$defs/finding"}), _object(reason=_TEXT)
    forecast = _object(settings={"type": "object"}, bands=_list({"$ref": "#/$defs/band"}))
    alerts = {"type": "object", "additionalProperties": _LABELS}
    experiment = _object(fault=_TEXT, title=_TEXT, service=_TEXT, expect=alerts, forbid=alerts, allow=_list(_LABELS))
    recipe = _object(drill=_TEXT, stack=_TEXT, namespace=_TEXT, fault=_TEXT, service=_TEXT, deadline=_TIME)
    forecasts = {"type": "object", "additionalProperties": forecast}
    return {
        "started": _object(format={"const": FORMAT}, drill=_TEXT, version=_TEXT, experiment=experiment,
                           forecasts=forecasts),
        "gate": _object(findings=findings, active=_list(_LABELS)),
        "intent": _object(recipe=recipe),
        "armed": _object(ack=_object(host=_TEXT, at=_TIME)),
        "not_armed": reason,
        "injecting": _object(),
        "injected": _object(requested_at=_TIME, effect_at=_TIME),
        "not_injected": reason,
        "stage": _object(alert=_TEXT, stage=_TEXT, at=_TIME, source=_TEXT, evidence={"type": "object"}),
        "receivers": _object(stage={"enum": ["before", "delivered", "resolved"]}, is_counted={"type": "boolean"},
                             rows=_list(_object(receiver=_TEXT, integration=_TEXT))),
        "quiet": _object(seconds=_NUMBER, fired=_list(_TEXT)),
        "missed": _object(alert=_TEXT, stage=_TEXT, why=_TEXT),
        "aborted": reason,
        "reverting": _object(),
        "reverted": _object(state=_TEXT, detail=_TEXT, requested_at=_TIME, back_at=_TIME),
        "revert_failed": _object(reason=_TEXT, commands=_list(_TEXT)),
        "recovered": _object(state=_TEXT, detail=_TEXT, by=_TEXT),
        "waiting": _object(why=_TEXT),
        "steady": _object(findings=findings, fired=_list(_LABELS)),
        "finished": _object(),
    }  # fmt: skip
