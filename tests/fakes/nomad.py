"""Nomad in memory: jobs with versions and modify indices, allocations that run at once, deployments, variables."""

from __future__ import annotations

import itertools
import json
import re
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from obsctl.clients.protocols import NomadApi, Variable
from obsctl.errors import Conflict, NotFound, Rejected, ServerFailed
from obsctl.model import Json
from obsctl.wait import Clock
from tests.fakes.breakable import Breakable
from tests.fakes.clock import FakeClock
from tests.fakes.consul import FakeConsul

# What Nomad adds to a job; the rest is what was registered.
_SERVER_FIELDS = ("CreateIndex", "JobModifyIndex", "ModifyIndex", "Stable", "Status", "Stop", "SubmitTime", "Version")
_SUCCESSFUL = {"Status": "successful", "StatusDescription": "Deployment completed successfully"}
_FAILED = {"Status": "failed", "StatusDescription": "Failed due to unhealthy allocations"}
_WAITING = {"Status": "running", "StatusDescription": "Deployment is running"}
_SIZE = 4 * 10**12
"""Bytes of each disk."""
NODE_ID = "11111111-1111-1111-1111-111111111111"
NODE: Json = {
    "ID": NODE_ID,
    "Name": "node-1",
    "Address": "127.0.0.1",
    "Status": "ready",
    "SchedulingEligibility": "eligible",
    "Datacenter": "dc1",
    "NodePool": "default",
    "Drivers": {name: {"Detected": True, "Healthy": True} for name in ("docker", "podman", "exec", "raw_exec")},
    "HostVolumes": {},
}


_IN_PATHS = ("job_id", "eval_id", "alloc_id", "task", "file", "node_id", "path")


class FakeNomad(Breakable, api=NomadApi, in_paths=_IN_PATHS):
    """NomadApi. A registered job runs and its deployment succeeds at once, on one node.

    consul: where the services of running allocations are registered.
    exits: job id -> last log line of jobs whose tasks exit at once: their deployment fails.
    unplaceable: job id -> FailedTGAllocs of jobs that no node can take: no allocation is made. {}: there is no node.
    node_stubs: the nodes, as Nomad lists them; allocations are on the one called node-1.
    disks: id of a node -> mount point -> bytes free; its allocations lie below the first. Else it has room enough.
    deploys: the types of jobs that have deployments; before 1.11 system jobs had none.
    written: job id -> file of its allocations' logs -> what is in it.
    """

    address = "http://nomad.fake:4646"

    def __init__(self, *, consul: FakeConsul | None = None, clock: Clock | None = None) -> None:
        super().__init__()
        self.exits: dict[str, str] = {}
        self.written: dict[str, dict[str, bytes]] = {}
        self.unplaceable: dict[str, Json] = {}
        self.disks: dict[str, dict[str, int]] = {}
        self.deploys = {"service", "system"}
        self._consul = consul or FakeConsul()
        self._clock = clock or FakeClock()
        self._index = itertools.count(10)
        self._versions: dict[str, list[Json]] = {}
        self._allocations: dict[str, Json] = {}
        self._deployments: dict[str, Json] = {}
        self._evaluations: dict[str, Json] = {}
        self._announced: dict[str, list[str]] = {}
        self._variables: dict[str, Variable] = {}
        self.node_stubs = [deepcopy(NODE)]
        self._volumes: list[Json] = []

    def leader(self) -> str:
        return "127.0.0.1:4647"

    def agent_version(self) -> str:
        return "1.11.2"

    def server_time(self) -> float:
        return float(int(self._clock.now()))

    def parse_job(self, hcl: str) -> Json:
        """Job JSON as it is; of HCL only the name, the services and the tasks are understood, and the whole text
        is kept, so that another text is another job."""
        try:
            return dict(json.loads(hcl))
        except ValueError:
            return _parsed(hcl)

    def plan_job(self, job: Json) -> Json:
        current = self._current(job["ID"])
        return {
            "JobModifyIndex": current["JobModifyIndex"] if current else 0,
            "Diff": _diff(current, job),
            "FailedTGAllocs": self.unplaceable.get(job["ID"]),
            "Annotations": {"DesiredTGUpdates": self._updates(current, job)},
            "Warnings": "",
        }

    def jobs(self) -> list[Json]:
        names = ("ID", "Name", "Type", "Namespace", "Meta", *_SERVER_FIELDS)
        latest = [versions[-1] for _, versions in sorted(self._versions.items())]
        return [{name: job[name] for name in names if name in job} for job in latest]

    def job(self, job_id: str) -> Json:
        return self._known(job_id)

    def job_versions(self, job_id: str) -> list[Json]:
        self._known(job_id)
        return self._versions[job_id][::-1]

    def register_job(self, job: Json, *, enforce_index: int | None = None) -> str:
        current = self._current(job["ID"])
        index = current["JobModifyIndex"] if current else 0
        if enforce_index not in (None, index):
            raise Conflict(f"Nomad at {self.address}: job {job['ID']} has modify index {index}", hint="plan again")
        if current and not current["Stop"] and _spec(current) == _spec(job):
            return self._evaluate(current, failed=self.unplaceable.get(job["ID"]))
        new = self._add_version({**_spec(deepcopy(job)), "Stop": False, "Status": "running", "Stable": False})
        self._end_allocations(job["ID"])
        return self._start(new)

    def stop_job(self, job_id: str) -> str:
        stopped = self._add_version({**self._known(job_id), "Stop": True, "Status": "dead"})
        self._end_allocations(job_id)
        return self._evaluate(stopped)

    def evaluation(self, eval_id: str) -> Json:
        return _found(self._evaluations.get(eval_id), f"evaluation {eval_id}")

    def job_evaluations(self, job_id: str) -> list[Json]:
        return _newest_first(self._evaluations, job_id)

    def job_allocations(self, job_id: str) -> list[Json]:
        return _newest_first(self._allocations, job_id)

    def allocations(self) -> list[Json]:
        return list(self._allocations.values())

    def job_deployment(self, job_id: str) -> Json | None:
        return next(iter(_newest_first(self._deployments, job_id)), None)

    def allocation(self, alloc_id: str) -> Json:
        return self._known_allocation(alloc_id)

    def task_logs(self, alloc_id: str, task: str, *, stream: str = "stderr", tail_bytes: int = 4096) -> str:
        allocation = self._allocations.get(alloc_id)
        line = self.exits.get(allocation["JobID"], "") if allocation and stream == "stderr" else ""
        return line[-tail_bytes:]

    def log_files(self, alloc_id: str) -> dict[str, int]:
        return {name: len(content) for name, content in self._logs(alloc_id).items()}

    def read_log(self, alloc_id: str, file: str, *, offset: int) -> bytes:
        return self._logs(alloc_id).get(file, b"")[offset:]

    def signing_keys(self) -> list[str]:
        return ["key-1"]

    def nodes(self) -> list[Json]:
        return self.node_stubs

    def node(self, node_id: str) -> Json:
        return _found(next((node for node in self.node_stubs if node["ID"] == node_id), None), f"node {node_id}")

    def disk_stats(self, node_id: str) -> Json:
        free = self.disks.get(self.node(node_id)["ID"], {"/": _SIZE // 2})
        sizes = [
            {"Mountpoint": at, "Device": f"/dev{at}", "Size": _SIZE, "Available": left} for at, left in free.items()
        ]
        return {"AllocDirStats": {**sizes[0], "Mountpoint": "", "Device": ""}, "DiskStats": sizes}

    def metrics(self) -> str:
        return "nomad_client_allocs_memory_rss 1\n"

    def volumes(self) -> list[Json]:
        return self._volumes

    def create_volume(self, volume: Json) -> str:
        node = next((node for node in self.node_stubs if node["ID"] == volume["NodeID"]), None)
        if node is None:
            raise ServerFailed(
                f"Nomad at {self.address}: node {volume['NodeID']!r} does not exist", hint="choose another"
            )
        created = {**volume, "ID": _uuid("f", next(self._index)), "State": "ready"}
        self._volumes.append(created)
        node["HostVolumes"][volume["Name"]] = {"Name": volume["Name"], "ID": created["ID"]}
        return str(created["ID"])

    def watch_node(self, node_id: str, *, index: int, wait: float) -> tuple[int, list[Json]]:
        on_node = [alloc for alloc in self._allocations.values() if alloc["NodeID"] == node_id]
        newest = max((alloc["ModifyIndex"] for alloc in on_node), default=1)
        if newest <= index:
            self._clock.sleep(wait)
        return newest, [{**alloc, "Job": self._version_of(alloc)} for alloc in on_node]

    def variable(self, path: str) -> Variable | None:
        return self._variables.get(path)

    def put_variable(self, path: str, items: dict[str, str], *, cas: int | None = None) -> None:
        self._check_index(path, cas)
        self._variables[path] = Variable(path, dict(items), next(self._index))

    def delete_variable(self, path: str, *, cas: int | None = None) -> None:
        self._check_index(path, cas)
        self._variables.pop(path, None)

    def _check_index(self, path: str, cas: int | None) -> None:
        held = self._variables.get(path)
        if cas is not None and cas != (held.modify_index if held else 0):
            raise Conflict(f"Nomad at {self.address}: variable {path} was changed", hint="look again")

    def signal_allocation(self, alloc_id: str, task: str, signal: str) -> None:
        """A killed task is restarted at once. One that stands still fails its checks."""
        self._running_task(alloc_id, task)
        self._happened(alloc_id, task, "Signaling", signal=signal)
        if signal == "SIGKILL":
            self._happened(alloc_id, task, "Terminated", "Restarting", "Started")
        elif signal in ("SIGSTOP", "SIGCONT"):
            status = "critical" if signal == "SIGSTOP" else "passing"
            for instance in self._announced.get(alloc_id, []):
                self._consul.report(instance, status)

    def restart_allocation(self, alloc_id: str, task: str) -> None:
        self._running_task(alloc_id, task)
        self._happened(alloc_id, task, "Restart Signaled", "Terminated", "Restarting", "Started")

    def stop_allocation(self, alloc_id: str) -> None:
        stopped = self._known_allocation(alloc_id)
        for task in stopped["TaskStates"]:
            self._happened(alloc_id, task, "Killing", "Terminated", "Killed")
        self._end(stopped)
        self._replace(stopped)

    def reschedule(self, job_id: str) -> None:
        self._known(job_id)
        for alloc in _newest_first(self._allocations, job_id):
            if alloc["ClientStatus"] == "failed" and alloc["DesiredStatus"] == "run":
                alloc["DesiredStatus"] = "stop"
                self._replace(alloc)

    def scale_stopped(self, job_id: str, count: int) -> None:
        """Somebody, or an autoscaler, gives a stopped job another count: one more version, stopped as well."""
        job = deepcopy(self._known(job_id))
        assert job["Stop"]
        for group in job["TaskGroups"]:
            group["Count"] = count
        self._add_version(job)

    def place(self, job_id: str) -> str:
        """One more allocation of a job. Returns how the ids of what it registers in Consul begin."""
        job = self._current(job_id) or self._add_version({"ID": job_id, "Stop": False})
        self._allocate(job, {"Name": job_id}, 0, "", None)
        return f"_nomad-task-{self.job_allocations(job_id)[0]['ID']}-"

    def report_allocations(self, job_id: str, **fields: Any) -> None:
        """The client reports this about all allocations of the job."""
        for alloc in self._allocations.values():
            if alloc["JobID"] == job_id:
                alloc.update(fields)

    def report_deployment(self, job_id: str, status: str) -> None:
        """The job's newest deployment has this status."""
        _newest_first(self._deployments, job_id)[0]["Status"] = status

    def forget_versions(self, job_id: str) -> None:
        """Nomad keeps few versions of a job: all but the current one are gone."""
        del self._versions[job_id][:-1]

    def collect_garbage(self, job_id: str) -> None:
        """A stopped job is forgotten, as after some hours, or by purge."""
        del self._versions[job_id]
        for table in (self._allocations, self._deployments, self._evaluations):
            for key in [key for key, entry in table.items() if entry["JobID"] == job_id]:
                del table[key]

    def _logs(self, alloc_id: str) -> dict[str, bytes]:
        allocation = self._allocations.get(alloc_id)
        return self.written.get(allocation["JobID"], {}) if allocation else {}

    def _updates(self, current: Json | None, job: Json) -> Json:
        """Every difference replaces the allocations that run."""
        differs = current and not current["Stop"] and _spec(current) != _spec(job)
        running = [alloc for alloc in self._allocations.values() if alloc["ClientStatus"] == "running"]
        mine = [alloc["TaskGroup"] for alloc in running if alloc["JobID"] == job["ID"]]
        groups = [group["Name"] for group in job.get("TaskGroups") or []]
        return {name: {"DestructiveUpdate": mine.count(name) if differs else 0} for name in groups}

    def _current(self, job_id: str) -> Json | None:
        return self._versions[job_id][-1] if job_id in self._versions else None

    def _version_of(self, alloc: Json) -> Json:
        return self._versions[alloc["JobID"]][alloc["JobVersion"]]

    def _known(self, job_id: str) -> Json:
        return _found(self._current(job_id), f"job {job_id}")

    def _known_allocation(self, alloc_id: str) -> Json:
        return _found(self._allocations.get(alloc_id), f"allocation {alloc_id}")

    def _add_version(self, job: Json) -> Json:
        versions, index = self._versions.setdefault(job["ID"], []), next(self._index)
        created = versions[0]["CreateIndex"] if versions else index
        indices = {"CreateIndex": created, "JobModifyIndex": index, "ModifyIndex": index}
        versions.append({**job, **indices, "Version": len(versions), "SubmitTime": int(self._clock.now() * 1e9)})
        return versions[-1]

    def _start(self, job: Json) -> str:
        unplaced = self.unplaceable.get(job["ID"])
        eval_id = self._evaluate(job, failed=unplaced)
        waiting = _SUCCESSFUL if job.get("Type") == "system" else _WAITING  # a system job wants what it can get
        outcome = waiting if unplaced is not None else _FAILED if job["ID"] in self.exits else _SUCCESSFUL
        deployment = None if unplaced == {} else self._deploy(job, outcome)
        job["Stable"] = outcome is _SUCCESSFUL
        for group in [] if unplaced is not None else job.get("TaskGroups") or []:
            for number in range(group.get("Count") or 0):
                self._allocate(job, group, number, eval_id, deployment)
        return eval_id

    def _evaluate(self, job: Json, *, failed: Json | None = None) -> str:
        index = next(self._index)
        eval_id = _uuid("e", index)
        common = {"ID": eval_id, "JobID": job["ID"], "CreateIndex": index}
        self._evaluations[eval_id] = {**common, "Status": "complete", "FailedTGAllocs": failed}
        return eval_id

    def _deploy(self, job: Json, outcome: Json) -> str | None:
        if job.get("Type", "service") not in self.deploys:
            return None
        index = next(self._index)
        indices = dict.fromkeys(("JobModifyIndex", "JobSpecModifyIndex"), job["JobModifyIndex"])
        of_job = {"JobID": job["ID"], "JobVersion": job["Version"], **indices}
        self._deployments[_uuid("d", index)] = {"ID": _uuid("d", index), "CreateIndex": index, **of_job, **outcome}
        return _uuid("d", index)

    def _allocate(self, job: Json, group: Json, number: int, eval_id: str, deployment: str | None) -> None:
        index = next(self._index)
        exits = job["ID"] in self.exits
        state = self._task_state("dead" if exits else "running", failed=exits)
        self._allocations[_uuid("a", index)] = {
            "ID": _uuid("a", index),
            "Name": f"{job['ID']}.{group['Name']}[{number}]",
            "Namespace": job.get("Namespace", "default"),
            "JobID": job["ID"],
            "JobVersion": job["Version"],
            "TaskGroup": group["Name"],
            "EvalID": eval_id,
            "DeploymentID": deployment,
            "NodeID": NODE_ID,
            "NodeName": "node-1",
            "CreateIndex": index,
            "ModifyIndex": index,
            "DesiredStatus": "run",
            "ClientStatus": "failed" if exits else "running",
            "TaskStates": {task["Name"]: deepcopy(state) for task in group.get("Tasks") or []},
        }
        if not exits:
            self._announce(_uuid("a", index), job, group)

    def _task_state(self, state: str, *, failed: bool = False) -> Json:
        at = int(self._clock.now() * 1e9)
        events: list[Json] = [{"Type": "Started", "Time": at, "DisplayMessage": "Task started by client"}]
        if failed:
            details = {"exit_code": "1", "signal": "0", "oom_killed": "false"}
            events.append({"Type": "Terminated", "Time": at, "DisplayMessage": "Exit Code: 1", "Details": details})
        finished = self._timestamp() if state == "dead" else None
        times = {"StartedAt": self._timestamp(), "FinishedAt": finished}
        return {"State": state, "Failed": failed, "Restarts": 0, "Events": events, **times}

    def _end_allocations(self, job_id: str) -> None:
        for alloc in self._allocations.values():
            if alloc["JobID"] == job_id and alloc["ClientStatus"] == "running":
                self._end(alloc)

    def _end(self, alloc: Json) -> None:
        alloc.update(ClientStatus="complete", DesiredStatus="stop", ModifyIndex=next(self._index))
        for state in alloc["TaskStates"].values():
            state.update(State="dead", FinishedAt=self._timestamp())
        for service in self._announced.pop(alloc["ID"], []):
            self._consul.deregister(service)

    def _replace(self, alloc: Json) -> None:
        job = self._known(alloc["JobID"])
        group = next(each for each in job["TaskGroups"] if each["Name"] == alloc["TaskGroup"])
        number = int(alloc["Name"].rpartition("[")[2].rstrip("]"))
        self._allocate(job, group, number, alloc["EvalID"], alloc["DeploymentID"])

    def _running_task(self, alloc_id: str, task: str) -> None:
        state = self._known_allocation(alloc_id)["TaskStates"].get(task)
        if state is None or state["State"] != "running":
            raise Rejected(f"Nomad at {self.address}: Task not running", hint="")

    def _happened(self, alloc_id: str, task: str, *events: str, **details: str) -> None:
        now = int(self._clock.now() * 1e9)
        state = self._known_allocation(alloc_id)["TaskStates"][task]
        for event in events:  # no two at the same moment
            at = max(now, state["Events"][-1]["Time"] + 1000)
            state["Events"].append({"Type": event, "Time": at, "DisplayMessage": event, "Details": details})

    def _announce(self, alloc_id: str, job: Json, group: Json) -> None:
        services = [*(group.get("Services") or [])]
        services += [service for task in group.get("Tasks") or [] for service in task.get("Services") or []]
        for service in services:
            instance = f"_nomad-task-{alloc_id}-{service['Name']}"
            meta = service.get("Meta") or {}
            self._consul.register(service["Name"], instance=instance, tags=tuple(service.get("Tags") or ()), meta=meta)
            self._announced.setdefault(alloc_id, []).append(instance)

    def _timestamp(self) -> str:
        return datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _parsed(hcl: str) -> Json:
    name = re.search(r'^\s*job\s+"([^"]+)"\s*{', hcl, re.MULTILINE)
    if not name or hcl.count("{") != hcl.count("}"):
        raise Rejected("Failed to parse job: it is no job, or a brace is missing", hint="mend the job")
    kind = re.search(r'^\s*type\s*=\s*"([^"]+)"', hcl, re.MULTILINE)
    tasks = [{"Name": task} for task in re.findall(r'\btask\s+"([^"]+)"', hcl)]
    meta = dict(re.findall(r'\b(obsctl_stack)\s*=\s*"([^"]+)"', hcl))
    names = re.findall(r'\bservice\s*{[^{}]*?\bname\s*=\s*"([^"]+)"', hcl)
    services = [{"Name": service, "Meta": meta} for service in names]
    group = {"Name": name[1], "Count": 1, "Tasks": tasks, "Services": services}
    return {
        "ID": name[1],
        "Name": name[1],
        "Type": kind[1] if kind else "service",
        "Meta": None,
        "TaskGroups": [group],
        "Source": hcl,
    }


def _spec(job: Json) -> Json:
    return {name: value for name, value in job.items() if name not in _SERVER_FIELDS}


def _diff(current: Json | None, job: Json) -> Json:
    if current is None:
        return {"ID": job["ID"], "Type": "Added", "Fields": []}
    old, new = {**_spec(current), "Stop": current["Stop"]}, {**_spec(job), "Stop": False}
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    fields = [{"Type": "Edited", "Name": name, "Old": str(old.get(name)), "New": str(new.get(name))} for name in names]
    return {"ID": job["ID"], "Type": "Edited" if fields else "None", "Fields": fields}


def _found(entry: Json | None, what: str) -> Json:
    if entry is None:
        raise NotFound(f"Nomad at {FakeNomad.address}: {what} not found", hint="check its name")
    return entry


def _newest_first(table: dict[str, Json], job_id: str) -> list[Json]:
    mine = [entry for entry in table.values() if entry["JobID"] == job_id]
    return sorted(mine, key=lambda entry: int(entry["CreateIndex"]), reverse=True)


def _uuid(kind: str, number: int) -> str:
    """Ids that tell their kind in a failing test."""
    return f"{kind * 8}-0000-0000-0000-{number:012d}"
