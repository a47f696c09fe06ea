"""The Nomad policies of the stack's programs, bound to their tasks, which have them by their workload identities."""

from __future__ import annotations

from functools import partial

from obsctl import names, rights
from obsctl.clients.acl import NomadAcl
from obsctl.model import Json
from obsctl.setup.change import Change, change, mark

TASKS = {names.WARDEN: (names.WARDEN, names.WARDEN), names.LOG_LINKS: (names.OTEL_AGENT, names.LOG_LINKS)}
"""Role -> the component, whose group has the same name, and the task."""


def changes(acl: NomadAcl, stack: str, namespace: str) -> list[Change]:
    """What is missing there, or is not as it should be."""
    return [each for role in TASKS for each in _policy(acl, role, stack, namespace)]


def _policy(acl: NomadAcl, role: str, stack: str, namespace: str) -> list[Change]:
    name, rules, text = f"{stack}-{role}", rights.policies(role, stack, namespace).nomad, mark(stack, role)
    job = _task(role, stack, namespace)
    target = {"Description": text, "Rules": rules, "JobACL": job}
    apply = partial(acl.put_policy, name, rules, description=text, job=job)
    return change(f"Nomad's policy {name}", acl.policy(name), target, apply)


def _task(role: str, stack: str, namespace: str) -> Json:
    component, task = TASKS[role]
    return {"Namespace": namespace, "JobID": names.job_id(stack, component), "Group": component, "Task": task}
