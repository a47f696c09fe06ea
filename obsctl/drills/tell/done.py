"""What a drill did to the cluster, in order: for its report. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from obsctl.drills.tell.journal import Record
from obsctl.model import Json


@dataclass(frozen=True, slots=True)
class Step:
    """at: Unix seconds. tone: "good", "bad", "doubtful" or "" for what is neither. by_hand: commands to type."""

    at: float
    title: str
    text: str
    tone: str = ""
    by_hand: tuple[str, ...] = ()


def steps(records: Sequence[Record]) -> Iterator[Step]:
    for record in records:
        if record.kind in _TITLES:
            title, tone, words = _TITLES[record.kind]
            commands = tuple(map(str, record.data.get("commands") or ()))
            at = float(record.data.get("effect_at") or record.data.get("back_at") or record.at)
            yield Step(at, title, words(record.data), "bad" if record.data.get("findings") else tone, commands)


def _gate(data: Json) -> str:
    count = len(data["findings"])
    return f"{count} reasons not to begin" if count else "all is steady, and the alert path works"


def _intent(data: Json) -> str:
    recipe = data.get("recipe") or {}
    return f"how to put back version {recipe.get('version')} of the job {recipe.get('job')} is on disk and in Consul"


def _armed(data: Json) -> str:
    return f"the warden on {data['ack'].get('host', '?')} has it, and acts by itself if obsctl dies"


def _injected(data: Json) -> str:
    return f"the effect was seen {data['effect_at'] - data['requested_at']:.2f} s after the request"


def _quiet(data: Json) -> str:
    return f"{', '.join(data['fired']) or 'nothing'} fired in {data['seconds']:.1f} s"


def _reverted(data: Json) -> str:
    return f"{data['detail']}; healthy {data['back_at'] - data['requested_at']:.2f} s after the request"


def _steady(data: Json) -> str:
    count = len(data["findings"])
    return f"not as before, for {count} reasons" if count else "everything is as before"


_TITLES: dict[str, tuple[str, str, Callable[[Json], str]]] = {
    "gate": ("Gate", "", _gate),
    "intent": ("Revert written down", "", _intent),
    "armed": ("Warden armed", "good", _armed),
    "not_armed": ("Warden not armed", "bad", lambda data: str(data["reason"])),
    "injecting": ("Fault requested", "", lambda _: "from here on the revert follows, whatever happens"),
    "injected": ("Fault is there", "bad", _injected),
    "not_injected": ("Fault is not there", "doubtful", lambda data: str(data["reason"])),
    "quiet": ("Watched what must not come", "", _quiet),
    "aborted": ("Ended early", "doubtful", lambda data: str(data["reason"])),
    "reverting": ("Revert requested", "", lambda _: ""),
    "reverted": ("Put back", "good", _reverted),
    "revert_failed": ("NOT put back", "bad", lambda data: str(data["reason"])),
    "recovered": ("Put back later", "good", lambda data: f"by {data['by']}: {data['detail']}"),
    "waiting": ("Not steady yet", "", lambda data: str(data["why"])),
    "steady": ("Steady again", "good", _steady),
    "finished": ("End", "", lambda _: "of the journal"),
}
"""Kind of record -> what it is called, its tone, and what is said of it."""
