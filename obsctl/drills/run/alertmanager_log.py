"""What Alertmanager's log says last of a receiver that did not get a notification.

The text is what a receiver answered, so it is hostile: it becomes one short line, without addresses and without what
looks like a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from obsctl import names
from obsctl.clients import jobs
from obsctl.drills.world import World
from obsctl.errors import ApiError
from obsctl.model import unix_time

LONGEST = 200
"""Characters of what is shown."""
_READ = 64 * 1024
_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
_KEY = re.compile(r"(?=[\w+/=-]*\d)[\w+/=-]{16,}", re.ASCII)
_HIDDEN = "<redacted>"


def last_failure(world: World, receiver: str, kind: str, *, since: float) -> str:
    """The newest error of its notifications that was logged after `since` (Unix seconds); "" when none can be read."""
    errors = [error for text in _logs(world) for error in _errors(text, receiver, kind, since)]
    return plain(max(errors)[1]) if errors else ""


def plain(error: str) -> str:
    """An error of Alertmanager for people, on one line."""
    hidden = _KEY.sub(_HIDDEN, _URL.sub(_HIDDEN, error))
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in hidden).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _logs(world: World) -> Iterator[str]:
    try:
        for allocation in world.nomad.job_allocations(names.job_id(world.stack, names.ALERTMANAGER)):
            if jobs.is_running(allocation):
                yield world.nomad.task_logs(allocation["ID"], names.ALERTMANAGER, tail_bytes=_READ)
    except ApiError:
        return


def _errors(text: str, receiver: str, kind: str, since: float) -> Iterator[tuple[float, str]]:
    """(Unix seconds, error) of each line about this receiver: of one attempt, or of all of a notification."""
    own = re.compile(rf"(?:^|; ){re.escape(f'{receiver}/{kind}')}\[\d+\]: (.*?)(?=; [^\s;]+/\w+\[\d+\]: |$)", re.DOTALL)
    for line in text.splitlines():
        fields = {name: _unquoted(value) for name, value in _FIELD.findall(line)}
        at, error = _time(fields.get("time") or fields.get("ts") or ""), fields.get("err", "")
        if at < since or not error:
            continue
        if fields.get("receiver") == receiver and fields.get("integration", "").startswith(f"{kind}["):
            yield at, error
        elif given_up := own.search(error):
            yield at, given_up[1]


def _unquoted(value: str) -> str:
    """Go quotes as JSON does, but for bytes that are no text."""
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value[1:-1]


def _time(text: str) -> float:
    try:
        return unix_time(text)
    except ValueError:
        return float("-inf")
