"""Whether an agent of the local cluster is ready, and what is missing until then ("" means nothing)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from obsctl.clients.jobs import placement_failures, takes_jobs
from obsctl.clients.protocols import AgentApi, NomadApi
from obsctl.errors import ApiError, Conflict, DeadlineExceeded, ObsctlError
from obsctl.model import Json
from obsctl.wait import SYSTEM_CLOCK, Clock, wait_until

T = TypeVar("T")
TIMEOUT = 60.0
_PROBE_TASK: Json = {
    "Name": "probe",
    "Driver": "raw_exec",
    "Config": {"command": "true"},
    "Resources": {"CPU": 1, "MemoryMB": 10},
}
PROBE_JOB: Json = {
    "ID": "obsctl-dev-probe",
    "Name": "obsctl-dev-probe",
    "Type": "batch",
    "Datacenters": ["*"],
    "TaskGroups": [{"Name": "probe", "Count": 1, "Tasks": [_PROBE_TASK]}],
}


def wait_ready(
    name: str, missing: Callable[[], str], check_alive: Callable[[], None], *, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Wait until nothing is missing. An API error counts as missing, but for a Conflict, which waiting does not end.

    Raises what `check_alive` raises, and after TIMEOUT seconds ObsctlError with what was missing last.
    """
    reason = ""

    def ready() -> bool:
        nonlocal reason
        check_alive()
        try:
            reason = missing()
        except Conflict:
            raise
        except ApiError as error:
            reason = error.message
        return not reason

    try:
        wait_until(ready, timeout=TIMEOUT, failure=f"{name} was not ready", hint="", interval=0.1, clock=clock)
    except DeadlineExceeded:
        raise ObsctlError(
            f"{name} runs but is not ready after {TIMEOUT:g} s: {reason}",
            hint=f"its log may say why: obsctl dev logs {name}",
        ) from None


def ask(name: str, call: Callable[[], T], check_alive: Callable[[], None], *, clock: Clock = SYSTEM_CLOCK) -> T:
    """What `call` returns, as soon as the agent of this name answers it. Raises what `wait_ready` raises."""
    answers: list[T] = []

    def missing() -> str:
        answers.append(call())
        return ""

    wait_ready(name, missing, check_alive, clock=clock)
    return answers[0]


def no_leader(api: AgentApi) -> str:
    return "" if api.leader() else "it has no leader"


def registrations(nomad: NomadApi) -> dict[str, int]:
    """Node id -> the raft index of its last change, which moves on when a client registers."""
    return {node["ID"]: node["ModifyIndex"] for node in nomad.nodes()}


def not_placeable(nomad: NomadApi, before: Mapping[str, int], name: str = "") -> str:
    """Why a raw_exec job has no place yet. name: of the node, where there are several: one that is drained or closed to
    new work stays so, and is ready.

    before: the registrations when the client was started. Without them a node that was there before the server's
    restart would look ready although its client is not back.
    """
    nodes = [node for node in nomad.nodes() if not name or node["Name"] == name]
    fresh = [node for node in nodes if node["ModifyIndex"] > before.get(node["ID"], 0)]
    if not fresh:
        return "its node has not registered"
    if name and all(node["Status"] == "ready" and not takes_jobs(node) for node in fresh):
        return ""
    not_ready = [_not_ready(node) for node in fresh]
    if all(not_ready):
        return "; ".join(not_ready)
    reasons = placement_failures(nomad.plan_job(PROBE_JOB))
    return f"no node takes a job: {'; '.join(reasons)}" if reasons else ""


def _not_ready(node: Json) -> str:
    if node["Status"] != "ready":
        return f"its node is {node['Status']}"
    if node["SchedulingEligibility"] != "eligible":
        return "its node is ineligible: nomad node eligibility -enable -self"
    if not (node.get("Drivers") or {}).get("raw_exec", {}).get("Healthy"):
        return "its raw_exec driver is not healthy"
    return ""
