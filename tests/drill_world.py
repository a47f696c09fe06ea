"""A whole stack under drill, on fakes and one fake clock: Nomad, Consul, the warden, and an alert path that reacts."""

import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import yaml
from prometheus_client import CollectorRegistry

from obsctl.clients import jobs
from obsctl.clients.replicas import AlertmanagerReplicas, PrometheusReplicas
from obsctl.config.secrets import Secret
from obsctl.drills import kept, recipes
from obsctl.drills.plan import experiment, target
from obsctl.drills.recipes import Recipe
from obsctl.drills.run.runner import Drill, Options
from obsctl.drills.tell.journal import Journal, read
from obsctl.drills.tell.verdict import judge
from obsctl.drills.world import Cluster, World
from obsctl.errors import Unreachable
from obsctl.lease import Lease
from obsctl.services.warden import Warden
from tests.fakes import FakeAlertmanager, FakeClock, FakeConsul, FakeNomad, FakePrograms, FakePrometheus, FakeSink

STACK, SERVICE, JOB_ID, DRILL_ID = "obs", "response", "demo-response", "20260101T000000Z-stop-response-abcd"
SECRET, WARDEN_VARIABLE = Secret("the warden's key"), f"nomad/jobs/{STACK}-warden"
JOB = {
    "ID": JOB_ID,
    "Name": JOB_ID,
    "Type": "service",
    "TaskGroups": [
        {
            "Name": "app",
            "Count": 1,
            "Services": [{"Name": SERVICE, "Tags": ["obsctl.scrape"]}],
            "Tasks": [{"Name": "app"}],
        }
    ],
}
OWN_JOBS = [
    {
        "ID": f"{STACK}-{name}",
        "Type": "service",
        "TaskGroups": [{"Name": name, "Count": 1, "Services": [], "Tasks": [{"Name": name, "Config": {"args": []}}]}],
    }
    for name in ("prometheus", "alertmanager")
]
LABELS = {"alertname": "ServiceDown", "service": SERVICE, "severity": "critical"}
ALERTMANAGER = {
    "route": {"receiver": "alert-sink", "group_wait": "1s", "group_interval": "2s"},
    "receivers": [{"name": "alert-sink", "webhook_configs": [{"url_file": "local/url", "send_resolved": True}]}],
}
PROMETHEUS = {"scrape_configs": [{"job_name": "consul", "consul_sd_configs": [{"refresh_interval": "2s"}]}]}


def iso(moment):
    return datetime.fromtimestamp(moment, UTC).isoformat()


class AlertPath:
    """One alert. Scrapes every 2 s, evaluates every second, group_wait 1 s, group_interval 2 s. pending: its `for`.

    rule: whether the rule is true, given that the service is up or not. delivers: whether a notification with
    this status reaches alert-sink. delay: seconds that each delivery takes.
    """

    def __init__(self, world, labels=LABELS, pending=10):
        self.world, self.clock, self.labels, self.pending = world, world.clock, labels, pending
        self.rule = lambda is_up: not is_up
        self.delivers = lambda status: True
        self.delay = 0.0
        self.up = True
        self.scraped_at = self.clock.now()
        self.active_at = self.fired_at = None
        self.fired = []
        self.notified = False
        for every, action in ((2, "scrape"), (1, "evaluate")):
            self.repeat(every, action)

    def repeat(self, every, action):
        getattr(self, action)()
        self.clock.after(every, lambda: self.repeat(every, action))

    def scrape(self):
        self.up = self.world.consul.answers(SERVICE)
        self.scraped_at = self.clock.now()

    def evaluate(self):
        now = self.clock.now()
        for rule in self.world.rules:
            rule["lastEvaluation"] = iso(now)
        if not self.rule(self.up):
            if self.fired_at is not None:
                self.send("resolved", 2.0, startsAt=iso(self.fired_at), endsAt=iso(now))
            self.active_at = self.fired_at = None
        elif self.active_at is None:
            self.active_at = now
        elif self.fired_at is None and now - self.active_at >= self.pending:
            self.fired_at = now
            self.fired.append(self.labels)
            self.send("firing", 1.0, startsAt=iso(now), endsAt="0001-01-01T00:00:00Z")
        self.world.prometheus.active_alerts = [alert for path in self.world.paths for alert in path.alerts()]

    def alerts(self):
        if self.active_at is None:
            return []
        state = "pending" if self.fired_at is None else "firing"
        return [{"labels": self.labels, "state": state, "activeAt": iso(self.active_at)}]

    def send(self, status, wait, **times):
        if self.delivers(status):
            self.clock.after(wait + self.delay, lambda: self.flush(status, **times))

    def flush(self, status, **times):
        """A group's notification. What is silenced is tried again every group_interval while it fires."""
        try:
            is_silenced = bool(self.world.alertmanager.silences())
        except Unreachable:  # it is away, and notifies when it is back
            self.clock.after(1.0, lambda: self.flush(status, **times))
            return
        if not is_silenced:
            self.deliver(status, self.labels, **times)
        elif self.fired_at is not None:
            self.clock.after(2.0, lambda: self.flush(status, **times))

    def deliver(self, status, labels, **times):
        alert = {"status": status, "labels": labels, "annotations": {}, **times}
        payload = {"version": "4", "status": status, "receiver": "alert-sink", "alerts": [alert]}
        self.world.sink.received.append({"received_at": self.clock.now(), "payload": payload})
        if labels is self.labels:
            self.world.alertmanager.notify()

    # What Prometheus answers, as FakePrometheus.results

    def get(self, promql, default):
        sample = {"metric": {"job": SERVICE}, "value": [self.clock.now(), str(self.scraped_at)]}
        if promql == f'up{{job="{SERVICE}"}} == 1':
            return [sample] * len(self.world.consul.health(SERVICE)) if self.up else []
        if promql == f'up{{job="{SERVICE}"}} == 0':
            return [sample] if not self.up and self.world.consul.offers(SERVICE) else []
        if promql.startswith("timestamp(up"):
            since = float(promql.partition("> ")[2].partition(" ")[0])
            return [sample] if self.up and self.scraped_at > since else []
        if not promql.startswith("max_over_time(ALERTS"):  # where series come from: here all from the service itself
            return []
        fired = [labels for path in self.world.paths for labels in path.fired]
        return [{"metric": {"__name__": "ALERTS", "alertstate": "firing", **labels}} for labels in fired]


class Watched:
    """A server whose every call is a step of the drill."""

    def __init__(self, server, name, world):
        self._server, self._name, self._world = server, name, world

    def __getattr__(self, attribute):
        value = getattr(self._server, attribute)
        if not callable(value):
            return value

        def call(*args, **kwargs):
            self._world.step(f"{self._name}.{attribute}")
            return value(*args, **kwargs)

        return call


class WatchedJournal(Journal):
    """A journal whose every record is a step of the drill, before it is written."""

    world = None

    def fill_disk(self):
        """From now on there is no room for another record."""
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, self._file)
        os.close(full)

    def append(self, kind, **data):
        self.world.step(f"journal.{kind}")
        return super().append(kind, **data)


class DrillWorld:
    """Everything steady, a warden that takes a turn every 2 s, and a lease that obsctl holds."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = FakeClock()
        self.consul = FakeConsul()
        self.nomad = FakeNomad(consul=self.consul, clock=self.clock)
        self.prometheus = FakePrometheus(self.clock)
        self.alertmanager = FakeAlertmanager(self.clock)
        self.sink = FakeSink(self.clock)
        for job in (JOB, *OWN_JOBS):
            self.nomad.register_job(job)
        self.rule = {
            "type": "alerting", "name": "ServiceDown", "query": f'absent(up{{job="{SERVICE}"}} == 1)',
            "duration": 10, "labels": {"service": SERVICE, "severity": "critical"}, "health": "ok",
        }  # fmt: skip
        self.rules, self.paths = [self.rule], []
        self.alerts = AlertPath(self)
        self.paths.append(self.alerts)
        self.heartbeat()
        self.prometheus.results = self.alerts
        self.prometheus.groups = [{"name": "availability", "interval": 1, "rules": self.rules}]
        self.prometheus.active_targets = [
            {"labels": {"job": SERVICE}, "scrapeInterval": "2s", "scrapeTimeout": "1s", "scrapePool": "consul"}
        ]
        self.prometheus.config = yaml.safe_dump(PROMETHEUS)
        self.alertmanager.config = yaml.safe_dump(ALERTMANAGER)
        self.events = []
        self.interrupted = False
        self.services = {}
        self.alertmanagers = [self.alertmanager]
        self.steps = []
        self.on_step = lambda number, name: None
        programs = FakePrograms(
            self.watched("nomad"), self.watched("consul"),
            prometheus=PrometheusReplicas(lambda: [self.watched("prometheus")]),
            alertmanager=AlertmanagerReplicas(self.alertmanager_replicas), sink=self.watched("sink"),
        )  # fmt: skip
        self.nomad.put_variable(WARDEN_VARIABLE, {"recipe_key": SECRET.reveal()})
        self.world = World(
            stack=STACK, namespace="default", nomad=self.watched("nomad"), consul=self.watched("consul"),
            secret=SECRET, clock=self.clock,
            programs=programs, heartbeat=10, emit=self.emit, interrupted=lambda: self.interrupted,
        )  # fmt: skip
        self.cluster = Cluster(STACK, "default", self.nomad, self.consul, SECRET, self.clock)
        self.lease = Lease(self.consul.create_session("drill", ttl=10))
        self.experiment = experiment.load("stop", SERVICE)
        self.journal = None
        self.start_warden()

    def expect(self, alertname, pending=10):
        """One more alert that must come, with a rule of its own. Returns its path; `alerts` is that of the first."""
        self.rules.append({**self.rule, "name": alertname, "duration": pending})
        pattern = {"alertname": alertname, "service": SERVICE}
        self.experiment = replace(self.experiment, expect={**self.experiment.expect, alertname: pattern})
        self.paths.append(AlertPath(self, {**LABELS, "alertname": alertname}, pending))
        return self.paths[-1]

    def heartbeat(self):
        self.alerts.deliver("firing", {"alertname": "Watchdog"}, startsAt=iso(self.clock.now()))
        self.clock.after(10, self.heartbeat)

    def watched(self, name):
        """A server as obsctl sees it; the warden has its own connections."""
        return Watched(getattr(self, name), name, self)

    def alertmanager_replicas(self):
        return [Watched(instance, "alertmanager", self) for instance in self.alertmanagers]

    def emit(self, event):
        self.step(f"say.{event.subject}.{event.state}")
        self.events.append(event)

    def step(self, name):
        """Everything that obsctl does goes through here, so that a test can do something at each step."""
        self.steps.append(name)
        self.on_step(len(self.steps) - 1, name)

    def start_warden(self):
        self.registry = CollectorRegistry()
        self.warden = Warden(self.cluster, self.registry)
        self.warden_lives = True
        self.clock.after(1, self._warden_turn)

    def _warden_turn(self):
        if self.warden_lives:
            with suppress(Unreachable):
                self.warden.turn(wait=0)
        self.clock.after(2, self._warden_turn)

    def target(self):
        return target.find(self.experiment, replace(self.world, services=self.services))

    def drill(self, **options):
        """A drill with its journal, ready to run."""
        found = self.target()
        flags = os.O_CREAT | os.O_EXCL
        self.journal = WatchedJournal(self.folder / f"{DRILL_ID}.jsonl", flags, [], self.clock)
        self.journal.world = self
        return Drill(found, self.world, self.journal, self.lease, Options(**options))

    def run(self, **options):
        """Run a drill to its end and return the verdict."""
        drill = self.drill(**options)
        try:
            drill.run()
        finally:
            self.journal.close()
        return judge(self.journal.records)

    def recipe(self, **changes):
        """A revert recipe for the job as it runs, held by our session."""
        job, now = self.nomad.job(JOB_ID), self.clock.now()
        made = Recipe(
            drill=DRILL_ID, stack=STACK, namespace="default", fault="stop", service=SERVICE, job=JOB_ID,
            version=job["Version"], digest=kept.digest_of(jobs.spec(job)), session=self.lease.session, created_at=now,
            deadline=now + 120, data={},
        )  # fmt: skip
        return replace(made, **changes)

    def write(self, recipe=None, **changes):
        """A recipe is in Consul, and its job is kept, as a drill leaves them. Returns the recipe."""
        made = recipe or self.recipe(**changes)
        kept.keep(self.cluster, made, jobs.spec(self.nomad.job(JOB_ID)))
        recipes.write(self.cluster, made)
        return made

    def entry(self):
        """The entry of our drill."""
        return next(found for found in recipes.read(self.cluster) if found.drill == DRILL_ID)

    def pass_time(self, seconds):
        for _ in range(int(seconds)):
            self.clock.sleep(1)

    def kinds(self):
        return [record.kind for record in self.journal.records]

    def data(self, kind):
        return next(record.data for record in reversed(self.journal.records) if record.kind == kind)

    def on_disk(self):
        return read(self.journal.path)

    def runs(self):
        return not self.nomad.job(JOB_ID)["Stop"]

    def versions(self):
        return self.nomad.job(JOB_ID)["Version"]

    def entries(self):
        """What is left of drills in Consul."""
        return self.consul.entries(f"obsctl/{STACK}/drills/")
