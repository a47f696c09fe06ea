"""What a drill is aimed at, read from the live cluster: the job, and the rule and route of each expected alert."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from obsctl import names
from obsctl.clients import jobs
from obsctl.clients.instances import allocation_id, not_of_others
from obsctl.config.durations import parse_duration
from obsctl.drills import faults, kept
from obsctl.drills.faults import Prepared
from obsctl.drills.plan import mute_times
from obsctl.drills.plan.channels import Channel, channels
from obsctl.drills.plan.crossing import NoForecast
from obsctl.drills.plan.experiment import Experiment, Labels, matches
from obsctl.drills.plan.forecast import Forecast, Settings, forecast
from obsctl.drills.plan.reading import Reader
from obsctl.drills.plan.rulecheck import reads
from obsctl.drills.plan.sight import Sight
from obsctl.drills.world import World
from obsctl.errors import NotFound, ObsctlError
from obsctl.model import Json
from obsctl.stack import routing
from obsctl.stack.routing import Route

_LABEL_OF_RESULT = re.compile(r"{{-?\s*(?:\$labels|\.Labels)\.(\w+)\s*-?}}")


@dataclass(frozen=True, slots=True)
class ExpectedAlert:
    """The way of one alert from its rule to alert-sink.

    rule: of /api/v1/rules. labels: those that the alert will have. routes: all that Alertmanager takes for it;
    route: the one that ends at alert-sink, None when there is none. silent_by: the time intervals for which that one
    notifies nobody now. inhibited_by: the active alerts that would keep this one from being notified. blind: why the
    rule cannot see the fault, or why that is not known; its forecast is then that of a rule that sees it at once.
    channels: by which it reaches people, alert-sink's own among them.
    """

    rule: Json
    labels: dict[str, str]
    routes: tuple[Route, ...]
    route: Route | None
    forecast: Forecast
    silent_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    blind: ObsctlError | None = None
    channels: tuple[Channel, ...] = ()

    @property
    def last_delivery(self) -> float:
        """Seconds after the fault by which every receiver should have it."""
        bands = [self.forecast.band("delivered"), *(channel.delivered for channel in self.channels)]
        return max(band.maximum for band in bands)


@dataclass(frozen=True, slots=True)
class Target:
    """A service under test.

    job: as Nomad has it. alerts: those that must come and those that must not, by their names in the experiment.
    prepared: what the fault has to know for its revert. others: who else registered instances of the service, in words.
    """

    experiment: Experiment
    job: Json
    alerts: dict[str, ExpectedAlert]
    prepared: Prepared
    others: tuple[str, ...] = ()

    @property
    def job_id(self) -> str:
        return str(self.job["ID"])

    def forecasts(self) -> dict[str, Forecast]:
        return {name: alert.forecast for name, alert in self.alerts.items()}


def find(experiment: Experiment, world: World) -> Target:
    """Raises ObsctlError when the service, its job or a rule is not there, or does not suit the fault."""
    job, others = _registrants(experiment.service, world)
    live = _Live(experiment, job, world)
    alerts = {name: live.alert(pattern) for name, pattern in experiment.watched.items()}
    fault = faults.named(experiment.fault)
    prepared = fault.prepare(world, experiment.service, job, experiment.parameters)
    kept.require_room(prepared.document, what=f"what is kept of the job {job['ID']}")
    return Target(experiment, job, alerts, prepared, others)


class _Live:
    """What is read once from the live cluster, and what it says of each expected alert."""

    def __init__(self, experiment: Experiment, job: Json, world: World) -> None:
        prometheus, alertmanager = world.programs.prometheus, world.programs.alertmanager
        self._experiment = experiment
        self._at = world.clock.now()
        self._groups = prometheus.rule_groups()
        self._prometheus: Json = yaml.safe_load(prometheus.config_yaml())
        self._alertmanager: Json = yaml.safe_load(alertmanager.status()["config"]["original"])
        self._active = [alert["labels"] for alert in alertmanager.alerts()]
        targets = prometheus.targets()
        self._scraped = _scraped(experiment.service, targets, world, self._prometheus)
        self._check_interval = jobs.check_interval(job, experiment.service)
        reader = Reader(prometheus, targets, experiment.service)
        self._sight = Sight(reader, self._groups, experiment)
        self._is_busy = reader.is_busy()
        self._prometheus_job = world.nomad.job(names.job_id(world.stack, names.PROMETHEUS))
        self._alertmanager_job = world.nomad.job(names.job_id(world.stack, names.ALERTMANAGER))

    def alert(self, pattern: Labels) -> ExpectedAlert:
        group, rule, labels = self._rule(pattern)
        external = (self._prometheus.get("global") or {}).get("external_labels") or {}  # Prometheus sends them along
        labels = {**external, **labels}
        routes = tuple(routing.routes(self._alertmanager, labels))
        route = next((each for each in routes if _ends_at_sink(self._alertmanager, each)), None)
        expected, blind = self._forecast(self._settings(group, rule, route), group, rule)
        silent_by = mute_times.silent_by(self._alertmanager, route, self._at) if route else ()
        inhibited_by = tuple(routing.inhibited_by(self._alertmanager, labels, self._active))

        def of_route(taken: Route) -> Forecast:
            settings = self._settings(group, rule, taken)
            return expected if settings == expected.settings else self._forecast(settings, group, rule)[0]

        own = channels(self._alertmanager, routes, self._at, of_route)
        return ExpectedAlert(rule, labels, routes, route, expected, silent_by, inhibited_by, blind, own)

    def _forecast(self, settings: Settings, group: Json, rule: Json) -> tuple[Forecast, ObsctlError | None]:
        """And why the rule cannot see the fault."""
        fault = faults.named(self._experiment.fault)
        hangs = fault.signal(self._experiment.parameters).hangs
        try:
            return forecast(settings, fault.scrape, self._sight.crossing(group, rule), hangs=hangs), None
        except NoForecast as reason:
            return forecast(settings, fault.scrape, hangs=hangs), reason

    def _rule(self, pattern: Labels) -> tuple[Json, Json, dict[str, str]]:
        """(group, rule, labels) of the alerting rule whose alert has the labels of the pattern.

        A rule that has them as they are comes first: one that fills them in by template may be about another service.
        """
        rules = [(group, rule) for group in self._groups for rule in group["rules"] if rule.get("type") == "alerting"]
        for group, rule in rules:
            labels = {**rule["labels"], "alertname": rule["name"]}
            if matches(pattern, labels):
                return group, rule, _resolved(labels, self._scraped["labels"], pattern)
        for group, rule in rules:
            labels = {**_resolved(rule["labels"], self._scraped["labels"], pattern), "alertname": rule["name"]}
            if matches(pattern, labels) and reads(rule["query"], self._experiment.service):
                return group, rule, labels
        expected = ", ".join(f'{name}="{value}"' for name, value in pattern.items())
        hint = f"name {self._experiment.service} under services: in obsctl.yaml and run obsctl deploy"
        raise ObsctlError(f"Prometheus has no alert rule with {expected}", hint=hint)

    def _settings(self, group: Json, rule: Json, route: Route | None) -> Settings:
        return Settings(
            scrape_interval=parse_duration(self._scraped["scrapeInterval"]),
            scrape_timeout=parse_duration(self._scraped["scrapeTimeout"]),
            evaluation_interval=float(group["interval"]),
            pending=float(rule["duration"]),
            keep_firing=float(rule.get("keepFiringFor", 0)),
            group_wait=route.group_wait if route else 0.0,
            group_interval=route.group_interval if route else 0.0,
            refresh_interval=self._refresh_interval(),
            prometheus=jobs.expected_count(self._prometheus_job),
            alertmanagers=jobs.expected_count(self._alertmanager_job),
            peer_timeout=self._peer_timeout(),
            check_interval=self._check_interval,
            is_busy=self._is_busy,
        )

    def _refresh_interval(self) -> float:
        """How long consul_sd may wait after a change that came soon after another; 30 s is Prometheus' default."""
        pool = [job for job in self._prometheus["scrape_configs"] if job["job_name"] == self._scraped["scrapePool"]]
        discoveries = [discovery for job in pool for discovery in job.get("consul_sd_configs") or []]
        return parse_duration(discoveries[0].get("refresh_interval", "30s")) if discoveries else 30.0

    def _peer_timeout(self) -> float:
        """How long each Alertmanager waits for the one before it: a flag of its job, since its API does not tell."""
        arguments = jobs.tasks(self._alertmanager_job)[0]["Config"]["args"]
        flags = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
        return parse_duration(flags.get("--cluster.peer-timeout", "0s"))


def _resolved(templates: Labels, scraped: Labels, pattern: Labels) -> dict[str, str]:
    """A rule's labels as its alert about this target has them: `{{ $labels.job }}` is the target's job.

    What only the result of the expression can fill in is taken to be as the pattern asks for it.
    """
    labels = {}
    for name, template in templates.items():
        text = _LABEL_OF_RESULT.sub(lambda label: scraped.get(label[1], label[0]), template)
        labels[name] = pattern.get(name, text) if "{{" in text else text
    return labels


def _registrants(service: str, world: World) -> tuple[Json, tuple[str, ...]]:
    """The Nomad job behind a Consul service, and who else registered instances of it, in words.

    Nomad writes the allocation's id into the instance's id, and Consul knows no namespaces of Nomad. Others can write
    to Consul too, so the job itself must say that it registers the service.
    """
    instances = [each for each in world.consul.health(service) if not_of_others(each, world.stack)]
    allocations = [allocation_id(each) for each in instances]
    owners = sorted({_job_behind(service, allocation, world) for allocation in set(filter(None, allocations))})
    own = [world.nomad.job(job_id) for namespace, job_id in owners if namespace == world.namespace]
    if own:
        job = _chosen(service, own, world)
        words = tuple(f"the job {job_id} in namespace {namespace}" for namespace, job_id in owners)
        others = tuple(word for word, each in zip(words, owners, strict=True) if each != (world.namespace, job["ID"]))
        return job, others + ("something that is no Nomad job",) * (not all(allocations))
    for namespace, job_id in owners:
        what = f"{service} is the job {job_id} in namespace {namespace}, and a drill acts in {world.namespace} alone"
        raise ObsctlError(what, hint=f"drill it with a stack whose obsctl.yaml has nomad.namespace: {namespace}")
    if instances:
        what, hint = f"{service} is in Consul, but no Nomad job registered it", "a drill needs a Nomad job"
        raise ObsctlError(what, hint=hint)
    hint = "deploy it; consul catalog services lists the names that there are"
    raise ObsctlError(f"there is no service {service} in Consul", hint=hint)


def _chosen(service: str, own: list[Json], world: World) -> Json:
    """The one of these jobs that declares the service and is the one of obsctl.yaml, where that names one."""
    ids = ", ".join(str(job["ID"]) for job in own)
    declaring = [job for job in own if jobs.declares(job, service)]
    if not declaring:
        what = f"{service} is in Consul as a service of the job {ids}, which declares no service of that name"
        raise ObsctlError(what, hint=f"somebody else registered it: consul catalog nodes -service {service} says where")
    configured = world.services.get(service)
    if configured is None or (configured.job is None and configured.namespace is None):
        return declaring[0]
    namespace, job_id = configured.namespace or world.namespace, configured.job or service
    for job in declaring:
        if (namespace, job_id) == (world.namespace, job["ID"]):
            return job
    what = (
        f"{service} is the job {job_id} in namespace {namespace}, says obsctl.yaml, but {ids} registered it in Consul"
    )
    raise ObsctlError(
        what, hint=f"correct services.{service} in obsctl.yaml, or give each job a service name of its own"
    )


def _job_behind(service: str, allocation: str, world: World) -> tuple[str, str]:
    """Namespace and id."""
    try:
        return jobs.job_of(world.nomad.allocation(allocation))
    except NotFound as error:
        what = f"{service} is registered by the allocation {allocation}, which Nomad does not know or does not show"
        hint = (
            f"it may just have been replaced: try again; or it is in another namespace than {world.namespace}, "
            "which the token may not read"
        )
        raise NotFound(what, hint=hint) from error


def _scraped(service: str, targets: list[Json], world: World, prometheus: Json) -> Json:
    for target in targets:
        if target["labels"].get("job") == service:
            return target
    if any(names.SCRAPE_TAG in (each["Service"].get("Tags") or []) for each in world.consul.health(service)):
        hint = f"Consul has it with the tag {names.SCRAPE_TAG}: try again in {_until_scraped(prometheus):.0f} s"
        raise ObsctlError(f"Prometheus does not scrape {service} yet", hint=hint)
    hint = f"give the service the Consul tag {names.SCRAPE_TAG}"
    raise ObsctlError(f"Prometheus does not scrape {service}", hint=hint)


def _until_scraped(prometheus: Json) -> float:
    """Seconds that it may take Prometheus to find an instance and to scrape it once."""
    discoveries = [each for job in prometheus["scrape_configs"] for each in job.get("consul_sd_configs") or []]
    refresh = [parse_duration(each.get("refresh_interval", "30s")) for each in discoveries]
    interval = (prometheus.get("global") or {}).get("scrape_interval", "1m")
    return max(refresh, default=30.0) + parse_duration(interval)


def _ends_at_sink(alertmanager: Json, route: Route) -> bool:
    """obsctl's own receiver; its address is in a file, so it is known by its name."""
    return route.receiver == names.SINK_RECEIVER and routing.receives_webhook(alertmanager, route.receiver)
