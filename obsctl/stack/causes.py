"""Why an allocation is not healthy: what Nomad, Consul and its log tell of it, as one sentence. Pure.

A cause is a function in CAUSES, which gives None where it does not hold. The first that holds is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from obsctl.clients import jobs
from obsctl.model import Json
from obsctl.stack.facts import Cause, Facts, Need, needs, unhealthy

UNREADABLE = 20.0
"""Seconds after which a template that still waits for what is there may not read it: Nomad's templates retry a refusal
for minutes, and call it missing meanwhile."""
_DETAIL = 300
"""So many characters of what a program or a server says go into a sentence."""
_GONE_IMAGE = re.compile(r"not found|manifest unknown|no such image|does not exist|invalid reference", re.I)
_CLOSED_REGISTRY = re.compile(r" denied\b|unauthorized|forbidden|no basic auth credentials|\b40[13]\b", re.I)
"""Docker says no more of some refusals than the one word."""
_REFUSED = re.compile(r"\b40[13]\b|permission denied|access denied|unauthorized|forbidden|acl not found", re.I)
_LOGIN = re.compile(r"derive Consul token for (\w+ \S+): (?:Unexpected response code: )?(\d+) \((.*?)\)(?= \*|$)")
_REFUSAL = re.compile(r"ACL not found|lacks permission|permission denied: token|(?:answered|code:) 40[13]\b", re.I)
_LAST_LINES = 5
"""A refusal that is further from the end of a log may be over."""
_PORT_TAKEN = re.compile(r"address already in use|port is already allocated", re.I)
_PORT = re.compile(r"^.*:(\d{2,5})\b.*?(?:address already in use|port is already allocated)", re.I | re.M)
"""The last one before these words: a line may begin with a time, and name a place in its source."""
_UNWRITABLE = re.compile(r"[^\n]*(?:(?<!bind: )permission denied|read-only file system|not writable)[^\n]*", re.I)
_FULL = re.compile(r"[^\n]*no space left on device[^\n]*", re.I)


def cause(facts: Facts) -> Cause | None:
    """The first cause that holds, of what has failed before what may still heal."""
    causes = [cause for row in CAUSES if (cause := row(facts))]
    return min(causes, key=lambda each: not each.certain, default=None)


def _each_task(row: Callable[[Facts, str], Cause | None]) -> Callable[[Facts], Cause | None]:
    def first(facts: Facts) -> Cause | None:
        causes = (row(facts, task) for task in sorted(jobs.task_states(facts.allocation)))
        return next(filter(None, causes), None)

    return first


def _setup(facts: Facts, task: str) -> Cause | None:
    for event in facts.events(task, "Setup Failure"):
        text = _text(event)
        if login := _LOGIN.search(text):
            return _refused_login(facts.who(task), *login.groups())
        return Cause(f"{facts.who(task)} could not be set up: {text}", _inspect(facts), certain=facts.failed)
    return None


def _refused_login(who: str, owner: str, status: str, answer: str) -> Cause:
    """Consul answers a login that no binding rule takes with the bare words."""
    lacks_rule = status == "403" and answer == "Permission denied"
    words = "no binding rule of its auth method takes it" if lacks_rule else answer
    what = "the binding rules" if lacks_rule else "the auth method"
    hint = f"obsctl setup consul-identity shows what is missing there, and makes {what}"
    return Cause(f"{who} gets no Consul token for {owner}: {words}", hint, certain=True)


def _image(facts: Facts, task: str) -> Cause | None:
    for event in facts.events(task, "Driver Failure")[-1:]:
        text = _text(event)
        match = re.search(r"Failed to (?:pull|find image|create image)[: ]+[`\"']?([^`\"'\s]+)", text, re.I)
        if not match:
            continue
        certain = facts.failed or bool(_GONE_IMAGE.search(text) or _CLOSED_REGISTRY.search(text))
        hint = "correct the image's name in obsctl.yaml, or let the node reach and log in to its registry"
        return Cause(f"{facts.who(task)} cannot get the image {match[1]}: {text}", hint, certain)
    events = jobs.task_events(facts.allocation, task)
    if jobs.task_state(facts.allocation, task) == "pending" and events and events[-1]["Type"] == "Driver":
        return Cause(f"{facts.who(task)} still gets its image: {_text(events[-1])}", _inspect(facts))
    return None


def _driver(facts: Facts, task: str) -> Cause | None:
    for event in facts.events(task, "Driver Failure", "Failed Artifact Download", "Failed Validation")[-1:]:
        if not _image(facts, task):
            return Cause(f"{facts.who(task)} cannot start: {_text(event)}", _inspect(facts), certain=facts.failed)
    return None


def _template(facts: Facts, task: str) -> Cause | None:
    for event in facts.events(task, "Killing"):
        text = _text(event)
        if text.startswith("Template failed"):
            refused = _REFUSED.search(text)
            words = "may not read what its template needs" if refused else "has a template that fails"
            heals = "Task not running" in text  # a signal that met a task at its start: Nomad starts another
            return Cause(f"{facts.who(task)} {words}: {text}", _RIGHTS if refused else _TEMPLATE, certain=not heals)
    awaited = needs(facts.allocation, task)
    causes = [_blocked(facts, task, need) for need in awaited]
    return min(causes, key=lambda each: not each.certain, default=None)


def _blocked(facts: Facts, task: str, need: Need) -> Cause:
    start = f"{facts.who(task)} waits in a template for {need}"
    there = facts.there.get(need)
    if there is not None:
        words, hint = "which is there: it seems that its token may not read it", _RIGHTS
        if need.kind == "service":
            words, hint = "about which Consul gives it no answer", _NO_ANSWER
        return Cause(f"{start}, {words}", hint, certain=there >= UNREADABLE)
    if need in facts.there:
        return Cause(f"{start}, which does not exist", _TEMPLATE, certain=True)
    return Cause(start, _TEMPLATE)


def _memory(facts: Facts, task: str) -> Cause | None:
    killed = [event for event in facts.crashes(task) if (event.get("Details") or {}).get("oom_killed") == "true"]
    if not killed:
        return None
    resources = next((each for each in jobs.tasks(facts.job) if each["Name"] == task), {}).get("Resources") or {}
    size = f" of {resources['MemoryMB']} MB" if resources.get("MemoryMB") else ""
    words = f"{facts.who(task)} ran out of its memory{size} and was killed"
    return Cause(words, "give it more memory in obsctl.yaml (resources.memory)", facts.gave_up(task))


def lacks_port(facts: Facts) -> bool:
    """Whether a task says that its port is taken: by what, Nomad may know."""
    return any(_PORT_TAKEN.search(_words(facts, task)) for task in jobs.task_states(facts.allocation))


def _port(facts: Facts, task: str) -> Cause | None:
    text = _words(facts, task)
    if not _PORT_TAKEN.search(text):
        return None
    match = _PORT.search(text)
    holder = facts.holders.get(int(match[1])) if match else None
    by = f"by the job {holder}" if holder else "by a program of no other job that obsctl can see"
    shown = f"port {match[1]}" if match else "a port"
    hint = f"on {facts.node}, ss -ltnp shows who has it; end that, or choose another port in obsctl.yaml"
    return Cause(f"{facts.who(task)} cannot listen: {shown} is taken {by}", hint, facts.gave_up(task))


def _volume(facts: Facts, task: str) -> Cause | None:
    text = "\n".join(line for line in _words(facts, task).splitlines() if not _REFUSAL.search(line))
    for pattern, words, hint in (
        (_FULL, "has no room left on its disk", f"make room on {facts.node}, or give it another volume"),
        (_UNWRITABLE, "may not write its data", f"on {facts.node}, give the folder to the user that the task runs as"),
    ):
        if match := pattern.search(text):
            return Cause(f"{facts.who(task)} {words}: {_short(match[0])}", hint, facts.gave_up(task))
    return None


def _crash(facts: Facts, task: str) -> Cause | None:
    crashes = facts.crashes(task)
    if not crashes:
        return None
    details = crashes[-1].get("Details") or {}
    killed = f"was killed by signal {details['signal']}" if details.get("signal", "0") != "0" else ""
    how = killed or f"ended with exit code {details.get('exit_code', '?')}"
    last = [line for line in facts.logs.get(task, "").splitlines() if line.strip()]
    words = f"; its last line: {_short(last[-1])}" if last else "; its log is empty"
    hint = "out of memory is often the reason; the node's kernel log tells" if killed else _inspect(facts)
    return Cause(f"{facts.who(task)} {how}{words}", hint, facts.gave_up(task))


def _refused(facts: Facts, task: str) -> Cause | None:
    """What a program asks with a token of its own: its log alone tells."""
    refused = [line for line in facts.logs.get(task, "").splitlines()[-_LAST_LINES:] if _REFUSAL.search(line)]
    crashed = bool(facts.crashes(task))
    if not refused or not (crashed or facts.checks):
        return None
    how = "ends with an error, and" if crashed else "runs, but"
    words = f"{facts.who(task)} {how} is refused what it asks: {_short(refused[-1])}"
    return Cause(words, _PROGRAM, certain=facts.gave_up(task) if crashed else facts.settled)


def _failed(facts: Facts) -> Cause | None:
    return Cause(f"{facts.job['ID']}: its task failed on {facts.node}", _inspect(facts), True) if facts.failed else None


def _registration(facts: Facts) -> Cause | None:
    if not facts.unregistered or facts.allocation["ClientStatus"] != "running":
        return None
    words = f"{facts.who()} runs, but its service {facts.unregistered[0]} is not registered in Consul"
    return Cause(words, _REGISTRATION, certain=facts.settled or unhealthy(facts.allocation))


def _check(facts: Facts) -> Cause | None:
    if not facts.checks or facts.allocation["ClientStatus"] != "running":
        return None
    return Cause(f"{facts.who()} runs, but {facts.checks[0]}", _inspect(facts), certain=unhealthy(facts.allocation))


CAUSES: tuple[Callable[[Facts], Cause | None], ...] = (
    *map(_each_task, (_setup, _image, _driver, _template, _memory, _port, _refused, _volume, _crash)),
    _failed,
    _registration,
    _check,
)
_RIGHTS = "obsctl doctor --probe tries what tasks may read; give their token that right, and deploy again"
_PROGRAM = "obsctl doctor tries the programs' own tokens; obsctl policies prints what each needs"
_NO_ANSWER = "correct its datacenter in the template, or look whether Consul's agent on that node reaches its servers"
_REGISTRATION = (
    "the token that registers it may lack service:write in Consul: the log of Nomad's client on that node tells"
)
_TEMPLATE = "correct the template, or make what it reads; then deploy again"


def _inspect(facts: Facts) -> str:
    return f"nomad job status {facts.job['ID']} shows more; obsctl deploy tries again"


def _words(facts: Facts, task: str) -> str:
    """What the task that has failed said itself, or its driver."""
    words = [_text(event) for event in facts.events(task, "Driver Failure")]
    return "\n".join([*words, facts.logs.get(task, "") if facts.crashes(task) else ""])


def _text(event: Json) -> str:
    return _short((event.get("Details") or {}).get("driver_error") or event.get("DisplayMessage") or event["Type"])


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _DETAIL else f"{line[:_DETAIL]}…"
