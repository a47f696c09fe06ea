"""Takes one instance of the service away, as an autoscaler would: the others have to carry its load."""

from __future__ import annotations

from collections.abc import Mapping

from obsctl.clients import jobs
from obsctl.drills.faults import Prepared, Scrape, Value
from obsctl.drills.faults._version import VersionFault
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import Cluster, World, passing
from obsctl.errors import ObsctlError
from obsctl.model import Json


class ScaleDown(VersionFault):
    """The recipe's data: `group`, and `count`: how many allocations of it there are during the fault."""

    scrape = Scrape.VANISHES

    def prepare(self, cluster: Cluster, service: str, job: Json, parameters: Mapping[str, Value]) -> Prepared:
        group = next(group for group in jobs.groups(job) if jobs.serves(job, group, service))
        count = self.count(int(group.get("Count") or 0), service)
        return Prepared({"group": group["Name"], "count": count}, jobs.spec(job))

    def count(self, before: int, service: str) -> int:
        """How many stay. Raises ObsctlError when there are too few."""
        if before < 2:
            raise ObsctlError(
                f"{service} has one instance: without it none is left", hint="that is the fault scale-zero"
            )
        return before - 1

    def changed(self, job: Json, recipe: Recipe) -> Json:
        count, name = recipe.data["count"], recipe.data["group"]
        groups = [{**group, "Count": count} if group["Name"] == name else group for group in jobs.groups(job)]
        return {**job, "TaskGroups": groups}

    def effect_at(self, world: World, recipe: Recipe) -> float | None:
        """When the last of those that had to go ended, once Consul has no more than should stay."""
        count, group = recipe.data["count"], recipe.data["group"]
        allocations = [each for each in world.nomad.job_allocations(recipe.job) if each["TaskGroup"] == group]
        if sum(map(jobs.may_run, allocations)) > count or passing(world, recipe.service) > count:
            return None
        ended = (jobs.finished_at(each) for each in allocations if not jobs.may_run(each))
        return max((end for end in ended if end is not None), default=None)


FAULT = ScaleDown()
