"""Faults that befall allocations of the service. Nomad itself puts right what comes of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from obsctl.clients import jobs
from obsctl.drills.faults import Fault, Prepared, Reverted, Scrape, Value
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import Cluster, World, is_healthy
from obsctl.errors import Conflict, NotFound, ObsctlError
from obsctl.model import Json

_CHANGES = ("Started", "Terminated", "Restarting", "Restart Signaled", "Killing", "Killed")
"""Events of a task after which it runs, or does not."""


class AllocationFault(Fault):
    """The recipe's data: `task`, and `allocations`: id -> when the last event of that task was (Unix nanoseconds)."""

    scrape = Scrape.FAILS

    def prepare(self, cluster: Cluster, service: str, job: Json, parameters: Mapping[str, Value]) -> Prepared:
        """parameters: `instances` ("all", or how many) and `task` ("": the one that serves)."""
        group = next((each for each in jobs.groups(job) if jobs.serves(job, each, service)), None)
        if group is None:
            raise ObsctlError(f"no group of the job {job['ID']} declares the service {service}", hint="choose another")
        self.require(job, group)
        task = str(parameters["task"]) or _serving(job, group, service)
        if task not in [each["Name"] for each in group.get("Tasks") or []]:
            known = ", ".join(each["Name"] for each in group.get("Tasks") or [])
            raise ObsctlError(f"the group {group['Name']} has no task {task}", hint=f"its tasks are: {known}")
        allocations = jobs.of_version(cluster.nomad.job_allocations(job["ID"]), job)
        running = [each for each in allocations if jobs.is_running(each) and each["TaskGroup"] == group["Name"]]
        amount = parameters["instances"]
        chosen = sorted(running, key=lambda each: str(each["Name"]))[: None if amount == "all" else int(amount)]
        return Prepared({"task": task, "allocations": {each["ID"]: _last_event(each, task) for each in chosen}})

    def require(self, job: Json, group: Json) -> None:
        """Raises ObsctlError when the fault would be too much for this group of the job."""

    def rehearse(self, cluster: Cluster, recipe: Recipe) -> None:
        cluster.nomad.job(recipe.job)

    def inject(self, cluster: Cluster, recipe: Recipe) -> None:
        if not recipe.data["allocations"]:
            raise Conflict(f"no allocation of {recipe.job} runs any more", hint="run the drill again")
        for allocation in recipe.data["allocations"]:
            self.strike(cluster, allocation, recipe.data["task"])

    @abstractmethod
    def strike(self, cluster: Cluster, allocation: str, task: str) -> None:
        """Let it happen to one allocation."""

    def effect_at(self, world: World, recipe: Recipe) -> float | None:
        """When the last of the allocations was struck, once all are."""
        struck = [self.struck_at(world, recipe, allocation) for allocation in recipe.data["allocations"]]
        return None if None in struck else max(at for at in struck if at is not None)

    def struck_at(self, cluster: Cluster, recipe: Recipe, allocation: str) -> float | None:
        """The first event that shows it, after those that there were before."""
        before, task = recipe.data["allocations"][allocation], recipe.data["task"]
        events = jobs.task_events(cluster.nomad.allocation(allocation), task)
        times = [int(event["Time"]) for event in events if self.shows(event)]
        return next((time / 1e9 for time in times if time > before), None)

    @abstractmethod
    def shows(self, event: Json) -> bool:
        """Whether this event of a task, as Nomad has it, shows that the allocation was struck."""

    def revert(self, cluster: Cluster, recipe: Recipe) -> Reverted:
        """Nomad restarts and replaces by itself; what it has given up for a while, it places at once."""
        try:
            current = cluster.nomad.job(recipe.job)
        except NotFound:
            return Reverted("superseded", "somebody has removed the job since")
        if current.get("Stop"):
            return Reverted("superseded", "somebody has stopped the job since")
        failed = [each for each in cluster.nomad.job_allocations(recipe.job) if each["ClientStatus"] == "failed"]
        if not failed or is_healthy(cluster, recipe.service, recipe.job):
            return Reverted("already", "Nomad puts it right by itself")
        cluster.nomad.reschedule(recipe.job)
        return Reverted("reverted", "Nomad had given up restarting it, and was asked to place it at once")

    def is_gone(self, cluster: Cluster, recipe: Recipe) -> bool:
        """Nomad calls an allocation running while its task is about to be started again."""
        if not super().is_gone(cluster, recipe):
            return False
        task, allocations = recipe.data["task"], cluster.nomad.job_allocations(recipe.job)
        running = [each for each in allocations if jobs.is_running(each) and task in jobs.task_states(each)]
        return all(_is_up(each, task) for each in running)

    def by_hand(self, recipe: Recipe) -> list[str]:
        return [f"nomad job eval -force-reschedule {recipe.job}"]


def require_another_start(job: Json, group: Json) -> None:
    """Raises ObsctlError when Nomad would give the group up for good after a crash."""
    restarts, reschedules = group.get("RestartPolicy") or {}, group.get("ReschedulePolicy") or {}
    gives_up = restarts.get("Mode") == "fail" and not reschedules.get("Unlimited", True)
    if gives_up and not reschedules.get("Attempts"):
        what = (
            f"what crashes too often of the group {group['Name']} stays failed: the job {job['ID']} has no rescheduling"
        )
        raise ObsctlError(what, hint="give it a reschedule block, or drill it by the fault freeze or stop")


def _serving(job: Json, group: Json, service: str) -> str:
    """The task of the group that serves: the only one that is no helper. Raises ObsctlError when that is not plain."""
    own = [task["Name"] for task in group.get("Tasks") or [] if not task.get("Lifecycle")]
    if len(own) != 1:
        what = f"the group {group['Name']} of {job['ID']} has several tasks, and any of them may serve {service}"
        raise ObsctlError(what, hint=f"say which: --task, one of {', '.join(own)}")
    return str(own[0])


def _is_up(allocation: Json, task: str) -> bool:
    """Whether the task runs and has not ended, or been told to end, since it started. Nomad keeps the last ten events:
    many signals push its start out."""
    changes = [each["Type"] for each in jobs.task_events(allocation, task) if each["Type"] in _CHANGES]
    return jobs.task_state(allocation, task) == "running" and changes[-1:] in ([], ["Started"])


def _last_event(allocation: Json, task: str) -> int:
    return max((int(event["Time"]) for event in jobs.task_events(allocation, task)), default=0)
