"""What faults do by Nomad: signals, restarts, ends of allocations. Each call is refused for what is not there."""

from __future__ import annotations

from typing import Protocol

from obsctl.clients.http import Client
from obsctl.clients.paths import quoted
from obsctl.errors import NotFound, ServerFailed
from obsctl.model import Json


class NomadActions(Protocol):
    """A part of NomadApi. alloc_id: whole. Each raises NotFound when there is no such allocation or job."""

    def signal_allocation(self, alloc_id: str, task: str, signal: str) -> None:
        """Send a signal ("SIGKILL") to the first process of a task. Raises Rejected when the task does not run."""

    def restart_allocation(self, alloc_id: str, task: str) -> None:
        """Restart a running task where it is. Raises Rejected when it does not run."""

    def stop_allocation(self, alloc_id: str) -> None:
        """Stop it; Nomad starts another one in its place, here or on another node."""

    def reschedule(self, job_id: str) -> None:
        """Let Nomad place what has failed at once, however long its reschedule delay would be. Nothing happens to a
        group that may never be rescheduled."""


class NomadActionsClient(Client):
    """NomadActions over HTTP; python-nomad has the smaller part of it, and quotes nothing."""

    def signal_allocation(self, alloc_id: str, task: str, signal: str) -> None:
        self._act("POST", f"/v1/client/allocation/{quoted(alloc_id)}/signal", {"Signal": signal, "Task": task})

    def restart_allocation(self, alloc_id: str, task: str) -> None:
        self._act("PUT", f"/v1/client/allocation/{quoted(alloc_id)}/restart", {"TaskName": task})

    def stop_allocation(self, alloc_id: str) -> None:
        self._act("POST", f"/v1/allocation/{quoted(alloc_id)}/stop", {})

    def reschedule(self, job_id: str) -> None:
        body = {"JobID": job_id, "EvalOptions": {"ForceReschedule": True}}
        try:
            self._act("POST", f"/v1/job/{quoted(job_id)}/evaluate", body)
        except ServerFailed as error:
            if "job not found" in error.message:  # with 500
                raise NotFound(error.message, hint="`nomad job status` lists the jobs") from error
            raise

    def _act(self, method: str, path: str, body: Json) -> None:
        self.session.request(method, path, json=body)
