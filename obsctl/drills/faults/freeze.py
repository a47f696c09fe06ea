"""Freezes the task of some instances by SIGSTOP: its port takes connections, and nothing answers."""

from __future__ import annotations

from obsctl.clients import jobs
from obsctl.drills.faults import Reverted
from obsctl.drills.faults._allocation import AllocationFault
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import Cluster, World, passing
from obsctl.model import Json


class Freeze(AllocationFault):
    """raw_exec and exec signal the first process of a task alone: behind a script that starts the service, it is the
    script that stands still, and no effect is seen."""

    def shows(self, event: Json) -> bool:
        return event["Type"] == "Signaling" and (event.get("Details") or {}).get("signal") == "SIGSTOP"

    def rehearse(self, cluster: Cluster, recipe: Recipe) -> None:
        """What is not frozen takes no notice of SIGCONT."""
        super().rehearse(cluster, recipe)
        for allocation in recipe.data["allocations"]:
            cluster.nomad.signal_allocation(allocation, recipe.data["task"], "SIGCONT")

    def strike(self, cluster: Cluster, allocation: str, task: str) -> None:
        cluster.nomad.signal_allocation(allocation, task, "SIGSTOP")

    def effect_at(self, world: World, recipe: Recipe) -> float | None:
        """When the last one was frozen, once Consul or Prometheus says of as many that they do not answer."""
        frozen = len(recipe.data["allocations"])
        expected = jobs.expected_instances(world.nomad.job(recipe.job), recipe.service)
        if passing(world, recipe.service) > expected - frozen:
            silent = world.programs.prometheus.query(f'up{{job="{recipe.service}"}} == 0')
            if len(silent) < frozen:
                return None
        return super().effect_at(world, recipe)

    def revert(self, cluster: Cluster, recipe: Recipe) -> Reverted:
        """SIGCONT to each that stands still. Nomad may have killed and replaced one, because its check failed."""
        task, frozen = (
            recipe.data["task"],
            [each for each in self._struck(cluster, recipe) if self._is_frozen(each, recipe)],
        )
        for allocation in frozen:
            cluster.nomad.signal_allocation(allocation["ID"], task, "SIGCONT")
        healed = super().revert(cluster, recipe)
        if not frozen or healed.state != "already":
            return healed
        return Reverted("reverted", f"let {len(frozen)} of {len(recipe.data['allocations'])} go on")

    def _is_frozen(self, allocation: Json, recipe: Recipe) -> bool:
        """Whether SIGSTOP was the last of what can make it stand still or go on."""
        events = jobs.task_events(allocation, recipe.data["task"])
        last: Json = next((each for each in reversed(events) if each["Type"] in ("Signaling", "Started")), {})
        return jobs.is_running(allocation) and bool(last) and self.shows(last)

    def _struck(self, cluster: Cluster, recipe: Recipe) -> list[Json]:
        """The allocations of the recipe that Nomad still knows."""
        known = cluster.nomad.job_allocations(recipe.job)
        return [each for each in known if each["ID"] in recipe.data["allocations"]]

    def by_hand(self, recipe: Recipe) -> list[str]:
        task = recipe.data["task"]
        thaw = [f"nomad alloc signal -s SIGCONT -task {task} {each}" for each in recipe.data["allocations"]]
        return [*thaw, *super().by_hand(recipe)]


FAULT = Freeze()
