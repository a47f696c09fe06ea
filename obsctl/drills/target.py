"""What a drill is aimed at, read from the live cluster: the job, its rule, its route, its settings."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from obsctl import names
from obsctl.clients.instances import allocation_id
from obsctl.config.durations import parse_duration
from obsctl.drills import faults, routing
from obsctl.drills.experiment import Experiment, matches
from obsctl.drills.forecast import Settings
from obsctl.drills.routing import Route
from obsctl.drills.world import World
from obsctl.errors import ObsctlError
from obsctl.model import Json


@dataclass(frozen=True, slots=True)
class Target:
    """The service under test and the path of its alert.

    job: as Nomad has it. rule: the alerting rule of /api/v1/rules. routes: all that Alertmanager takes for it;
    route: the one that ends at alert-sink, None when there is none. undo: what the fault needs for its revert.
    """

    job: Json
    rule: Json
    labels: dict[str, str]
    routes: tuple[Route, ...]
    route: Route | None
    settings: Settings
    undo: Json

    @property
    def job_id(self) -> str:
        return str(self.job["ID"])


def find(experiment: Experiment, world: World) -> Target:
    """Raises ObsctlError when the service, its job or its rule is not there, or does not suit the fault."""
    job = world.nomad.job(_job_of(experiment.service, world))
    group, rule = _rule(experiment, world)
    prometheus = yaml.safe_load(world.prometheus.config_yaml())
    external = (prometheus.get("global") or {}).get("external_labels") or {}  # Prometheus sends them along
    labels = {**external, **rule["labels"], "alertname": rule["name"]}
    alertmanager = yaml.safe_load(world.alertmanager.status()["config"]["original"])
    routes = tuple(routing.routes(alertmanager, labels))
    route = next((found for found in routes if _ends_at_sink(alertmanager, found)), None)
    settings = _settings(experiment, world, prometheus, (group, rule), route)
    undo = faults.named(experiment.fault).prepare(world, experiment.service, job)
    return Target(job, rule, labels, routes, route, settings, undo)


def active_rules(world: World) -> list[tuple[Json, Json]]:
    """(group, rule) of every alerting rule."""
    return [(group, rule) for group in world.prometheus.rule_groups() for rule in group["rules"]
            if rule.get("type") == "alerting"]  # fmt: skip


def _job_of(service: str, world: World) -> str:
    """The Nomad job behind a Consul service: Nomad writes the allocation's id into the service's id."""
    instances = world.consul.health(service)
    for allocation in filter(None, map(allocation_id, instances)):
        return str(world.nomad.allocation(allocation)["JobID"])
    if instances:
        raise ObsctlError(f"{service} is in Consul, but no Nomad job registered it", hint="drills act on Nomad jobs")
    raise ObsctlError(
        f"there is no service {service} in Consul", hint="obsctl deploy, or see the names with: consul catalog services"
    )


def _rule(experiment: Experiment, world: World) -> tuple[Json, Json]:
    for group, rule in active_rules(world):
        if matches(experiment.expect, {**rule["labels"], "alertname": rule["name"]}):
            return group, rule
    wanted = ", ".join(f'{name}="{value}"' for name, value in experiment.expect.items())
    raise ObsctlError(
        f"Prometheus has no alert rule with {wanted}",
        hint=f"name {experiment.service} under services: in obsctl.yaml and run obsctl deploy",
    )


def _ends_at_sink(alertmanager: Json, route: Route) -> bool:
    """obsctl's own receiver; its address is in a file, so it is known by its name."""
    return route.receiver == names.SINK_RECEIVER and routing.receives_webhook(alertmanager, route.receiver)


def _settings(
    experiment: Experiment, world: World, prometheus: Json, grouped: tuple[Json, Json], route: Route | None
) -> Settings:
    group, rule = grouped
    target = next(
        (target for target in world.prometheus.targets() if target["labels"].get("job") == experiment.service), None
    )
    if target is None:
        raise ObsctlError(
            f"Prometheus does not scrape {experiment.service}",
            hint=f"give the service the Consul tag {names.SCRAPE_TAG}",
        )
    alertmanagers, peer_timeout = _turns(world)
    return Settings(
        scrape_interval=parse_duration(target["scrapeInterval"]),
        scrape_timeout=parse_duration(target["scrapeTimeout"]),
        evaluation_interval=float(group["interval"]),
        pending=float(rule["duration"]),
        keep_firing=float(rule.get("keepFiringFor", 0)),
        group_wait=route.group_wait if route else 0.0,
        group_interval=route.group_interval if route else 0.0,
        refresh_interval=_refresh_interval(prometheus, target["scrapePool"]),
        prometheus=_group(world, names.PROMETHEUS)["Count"],
        alertmanagers=alertmanagers,
        peer_timeout=peer_timeout,
    )


def _turns(world: World) -> tuple[int, float]:
    """How many Alertmanagers there are, and how many seconds each waits for the one before it: a flag of its job, since
    its API does not tell."""
    group = _group(world, names.ALERTMANAGER)
    flags = dict(flag.split("=", 1) for flag in group["Tasks"][0]["Config"]["args"] if "=" in flag)
    return group["Count"], parse_duration(flags.get("--cluster.peer-timeout", "0s"))


def _group(world: World, component: str) -> Json:
    """The one task group of a component's job."""
    group: Json = world.nomad.job(f"{world.stack}-{component}")["TaskGroups"][0]
    return group


def _refresh_interval(config: Json, pool: str) -> float:
    """How long consul_sd may wait after a change that came soon after another; 30 s is Prometheus' default."""
    for job in config["scrape_configs"]:
        for discovery in job.get("consul_sd_configs") or [] if job["job_name"] == pool else []:
            return parse_duration(discovery.get("refresh_interval", "30s"))
    return 30.0
