"""Whether an agent of the local cluster is ready, and what is missing until then ("" means nothing)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from obsctl.clients.jobs import placement_failures
from obsctl.clients.protocols import AgentApi, NomadApi
from obsctl.errors import ApiError, DeadlineExceeded, ObsctlError
from obsctl.model import Json
from obsctl.wait import SYSTEM_CLOCK, Clock, wait_until

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
    """Wait until nothing is missing; an API error counts as missing. Raises what `check_alive` raises, and after
    TIMEOUT seconds ObsctlError with what was missing last."""
    reason = ""

    def ready() -> bool:
        nonlocal reason
        check_alive()
        try:
            reason = missing()
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


def no_leader(api: AgentApi) -> str:
    return "" if api.leader() else "it has no leader"


def registrations(nomad: NomadApi) -> dict[str, int]:
    """Node id -> the raft index of its last change, which moves on when a client registers."""
    return {node["ID"]: node["ModifyIndex"] for node in nomad.nodes()}


def not_placeable(nomad: NomadApi, before: Mapping[str, int]) -> str:
    """Why a raw_exec job has no place yet.

    before: the registrations when the client was started. Without them a node that was there before the server's
    restart would look ready although its client is not back.
    """
    fresh = [node for node in nomad.nodes() if node["ModifyIndex"] > before.get(node["ID"], 0)]
    if not fresh:
        return "its node has not registered"
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
