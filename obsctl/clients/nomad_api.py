"""Nomad, by python-nomad where that works well, else by our session."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import nomad

from obsctl import names
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.form import object_of, objects_of, text_of
from obsctl.clients.nomad_actions import NomadActionsClient
from obsctl.clients.paths import checked, quoted
from obsctl.clients.protocols import Variable
from obsctl.errors import Conflict, NotFound, Rejected, ServerFailed
from obsctl.model import Json

_LOGS = "alloc/logs"
_MEASURED_WITHIN = 5.0
"""Seconds: a node that has not answered then is one that does not, of which Nomad says nothing for half a minute."""


class NomadClient(NomadActionsClient):
    """NomadApi over HTTP. The session adds token, namespace and region to every call; python-nomad quotes nothing."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        # python-nomad reads NOMAD_* from the environment; the session overrules it all.
        self._nomad = nomad.Nomad(address=endpoint.address, session=self.session)

    def leader(self) -> str:
        try:
            return text_of(self._nomad.status.leader.get_leader())
        except ServerFailed as error:
            if "No cluster leader" in error.message:
                return ""
            raise

    def agent_version(self) -> str:
        return str(self._nomad.agent.get_agent()["config"]["Version"]["Version"])

    def server_time(self) -> float:
        return self.session.server_time("/v1/status/peers")

    def parse_job(self, hcl: str) -> Json:
        return object_of(self._nomad.jobs.parse(hcl, canonicalize=True), "ID", "TaskGroups")

    def plan_job(self, job: Json) -> Json:
        return object_of(self._nomad.job.plan_job(quoted(job["ID"]), {"Job": job}, diff=True), "JobModifyIndex")

    def jobs(self) -> list[Json]:
        return objects_of(self._nomad.jobs.get_jobs(meta=True), "ID")

    def job(self, job_id: str) -> Json:
        job: Any = self._nomad.job.get_job(quoted(job_id))
        if (
            not isinstance(job, dict) or job.get("ID") != job_id
        ):  # of a job called web/versions, Nomad gives the versions of web
            raise NotFound(f"{self.endpoint} gives no job {job_id!r}, but something else", hint="rename the job")
        return job

    def job_versions(self, job_id: str) -> list[Json]:
        versions = objects_of(self._nomad.job.get_versions(quoted(job_id))["Versions"])
        return sorted(versions, key=lambda job: int(job["Version"]), reverse=True)

    def register_job(self, job: Json, *, enforce_index: int | None = None) -> str:
        payload: Json = {"Job": job}
        if enforce_index is not None:
            payload |= {"EnforceIndex": True, "JobModifyIndex": enforce_index}
        try:
            return str(self._nomad.jobs.register_job(payload)["EvalID"])
        except ServerFailed as error:
            # With 500: "Enforcing job modify index 7: job exists with conflicting job modify index: 12"
            if "Enforcing job modify index" in error.message:
                raise Conflict(error.message, hint="the job changed meanwhile: plan and deploy again") from error
            raise

    def stop_job(self, job_id: str) -> str:
        answer = self._nomad.job.deregister_job(quoted(job_id))
        if not answer["JobModifyIndex"]:  # Nomad answers 200 for a job that is not there
            raise NotFound(f"{self.endpoint} has no job {job_id!r}", hint="`nomad job status` lists them")
        return str(answer["EvalID"])

    def evaluation(self, eval_id: str) -> Json:
        return object_of(self._nomad.evaluation.get_evaluation(quoted(eval_id)), "Status")

    def job_evaluations(self, job_id: str) -> list[Json]:
        return _newest_first(self._nomad.job.get_evaluations(quoted(job_id)))

    def job_allocations(self, job_id: str) -> list[Json]:
        return _newest_first(self._nomad.job.get_allocations(quoted(job_id)))

    def allocations(self) -> list[Json]:
        params = {"namespace": "*", "resources": "true"}
        return objects_of(self.session.request("GET", "/v1/allocations", params=params).json(), "ID", "ClientStatus")

    def job_deployment(self, job_id: str) -> Json | None:
        deployment = self._nomad.job.get_deployment(quoted(job_id))
        return None if deployment is None else object_of(deployment, "Status")

    def allocation(self, alloc_id: str) -> Json:
        try:
            allocation = self._nomad.allocation.get_allocation(quoted(alloc_id))
        except ServerFailed as error:
            if "Unknown allocation" in error.message:  # with 500, where the token may not read its namespace
                raise NotFound(error.message, hint="give the token read-job in its namespace") from error
            raise
        return object_of(allocation, "ID", "JobID", "Namespace")

    def task_logs(self, alloc_id: str, task: str, *, stream: str = "stderr", tail_bytes: int = 4096) -> str:
        params = {"task": checked(task), "type": stream, "origin": "end", "offset": tail_bytes, "plain": "true"}
        try:
            answer = self.session.request("GET", f"/v1/client/fs/logs/{quoted(alloc_id)}", params=params, text=True)
        except NotFound:
            return ""  # the allocation, or its log, is gone or was never there
        return answer.content.decode(errors="replace")

    def log_files(self, alloc_id: str) -> dict[str, int]:
        try:
            files = self.session.request("GET", f"/v1/client/fs/ls/{quoted(alloc_id)}", params={"path": _LOGS}).json()
        except NotFound:
            return {}
        # Hidden files are the pipes through which the tasks write.
        return {file["Name"]: int(file["Size"]) for file in objects_of(files) if not file["Name"].startswith(".")}

    def read_log(self, alloc_id: str, file: str, *, offset: int) -> bytes:
        # Not fs/readat: when the file is gone, it answers 200 with the text of an error.
        params = {"path": f"{_LOGS}/{checked(file)}", "offset": offset, "follow": "false"}
        try:
            answer = self.session.request("GET", f"/v1/client/fs/stream/{quoted(alloc_id)}", params=params, text=True)
        except NotFound:
            return b""
        except Rejected as error:
            if "no such file" in error.message:  # rotated away
                return b""
            raise
        return b"".join(b64decode(frame.get("Data") or "") for frame in _frames(answer.text))

    def signing_keys(self) -> list[str]:
        answer = self.session.request("GET", names.SIGNING_KEYS).json()
        return sorted(str(key["kid"]) for key in objects_of(answer.get("keys")))

    def nodes(self) -> list[Json]:
        return objects_of(self._nomad.nodes.get_nodes(), "ID", "Name", "Status")

    def node(self, node_id: str) -> Json:
        return object_of(self._nomad.node.get_node(quoted(node_id)), "ID", "Name")

    def disk_stats(self, node_id: str) -> Json:
        # python-nomad asks the agent for its own alone.
        params = {"node_id": checked(node_id)}
        answer = self.session.request("GET", "/v1/client/stats", params=params, within=_MEASURED_WITHIN)
        stats, sizes = object_of(answer.json(), "AllocDirStats", "DiskStats"), ("Device", "Size", "Available")
        return {
            "AllocDirStats": object_of(stats["AllocDirStats"], *sizes),
            "DiskStats": objects_of(stats["DiskStats"] or [], *sizes, "Mountpoint"),
        }

    def watch_node(self, node_id: str, *, index: int, wait: float) -> tuple[int, list[Json]]:
        # python-nomad knows no index.
        path = f"/v1/node/{quoted(node_id)}/allocations"
        next_index, answer = self.session.watch(path, "X-Nomad-Index", index, wait)
        return next_index, objects_of(answer.json(), "ID", "ClientStatus")

    def metrics(self) -> str:
        return self.session.request("GET", "/v1/metrics", params={"format": "prometheus"}, text=True).text

    def volumes(self) -> list[Json]:
        answer = self.session.request("GET", "/v1/volumes", params={"type": "host"})
        return objects_of(answer.json(), "ID") if answer.text else []  # before 1.10 Nomad has none, and answers nothing

    def create_volume(self, volume: Json) -> str:
        answer = self.session.request("PUT", "/v1/volume/host/create", json={"Volume": volume})
        return str(answer.json()["Volume"]["ID"])

    # Variables without python-nomad: the answer to a lost check-and-set holds secrets, so no error may quote it.

    def variable(self, path: str) -> Variable | None:
        try:
            variable = self.session.request("GET", _variable(path), quote=False).json()
        except NotFound:
            return None
        return Variable(variable["Path"], object_of(variable["Items"]), variable["ModifyIndex"])

    def put_variable(self, path: str, items: dict[str, str], *, cas: int | None = None) -> None:
        body = {"Path": path, "Items": items}
        self.session.request("PUT", _variable(path), params={"cas": cas}, json=body, quote=False)

    def delete_variable(self, path: str, *, cas: int | None = None) -> None:
        self.session.request("DELETE", _variable(path), params={"cas": cas}, quote=False)


def _variable(path: str) -> str:
    return f"/v1/var/{quoted(path)}"


def _frames(text: str) -> Iterator[Json]:
    """JSON objects, one directly after the other."""
    decoder, position = json.JSONDecoder(), 0
    while position < len(text):
        frame, position = decoder.raw_decode(text, position)
        yield frame


def _newest_first(objects: Any) -> list[Json]:
    """Nomad sorts by id."""
    return sorted(objects_of(objects), key=lambda item: int(item["CreateIndex"]), reverse=True)
