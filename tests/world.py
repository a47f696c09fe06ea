"""A cluster of fakes, and a stack on its way onto it: what the tests of plan, apply and deploy share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from obsctl import names
from obsctl.clients.replicas import AlertmanagerReplicas, PrometheusReplicas
from obsctl.config.catalog import Components
from obsctl.config.schema import Config
from obsctl.config.secrets import Secret
from obsctl.model import Event
from obsctl.stack.apply import apply
from obsctl.stack.health import Tools
from obsctl.stack.observe import Desired, DesiredJob, Observed, desire, observe
from obsctl.stack.plan import Change, Plan, plan
from obsctl.stack.render import render
from obsctl.wait import SYSTEM_CLOCK
from tests.fakes import (
    FakeAlertmanager,
    FakeClock,
    FakeConsul,
    FakeNomad,
    FakePrograms,
    FakeSink,
    StackPrometheus,
)

NOWHERE = Path("/nonexistent")
SECRET = "s3cr3t-value"  # what every reference resolves to


ALERT_PATH = ("prometheus", "alertmanager", "alert-sink", "warden")
# The stack of most tests: the alert path alone.
OTHERS_OFF = {
    name: {"enabled": False}
    for name in (field.alias or key for key, field in Components.model_fields.items())
    if name not in ALERT_PATH
}


def config(**keys: Any) -> Config:
    """obsctl.yaml with these keys, `for` and dashes as in the file, and of the stack the alert path alone."""
    return Config.model_validate({**keys, "components": {**OTHERS_OFF, **keys.get("components", {})}})


DEMO = config(timing="fast", driver="raw_exec", demo={"enabled": True})


def grafana_datasources(**keys: Any) -> dict[str, Any]:
    """The file of datasources that Grafana gets when all its backends run, with `$$` read as it reads it: `$`.

    keys: more of obsctl.yaml.
    """
    on = {name: {"enabled": True} for name in ("prometheus", "alertmanager", "victorialogs", "jaeger", "grafana")}
    [file] = [
        item.value for item in render(config(components=on, **keys), NOWHERE).content if "datasources.yml" in item.key
    ]
    found: dict[str, Any] = yaml.safe_load(file.replace("$$", "$"))
    return found


@dataclass
class World:
    """Nomad, Consul, an alert path that works as soon as it is deployed, and a clock, all fake. Every secret is SECRET.

    The command line has the clock of the machine, and so has the heartbeat.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    consul: FakeConsul = field(default_factory=FakeConsul)
    nomad: FakeNomad = field(init=False)
    prometheus: StackPrometheus = field(init=False)
    alertmanager: FakeAlertmanager = field(default_factory=FakeAlertmanager)
    sink: FakeSink = field(default_factory=lambda: FakeSink(SYSTEM_CLOCK))
    programs: FakePrograms = field(init=False)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nomad = FakeNomad(consul=self.consul, clock=self.clock)
        self.prometheus = StackPrometheus(self.nomad, self.consul, self.clock)
        self.sink.deliver(names.WATCHDOG)
        self.programs = FakePrograms(
            self.nomad,
            self.consul,
            prometheus=PrometheusReplicas(lambda: [self.prometheus]),
            alertmanager=AlertmanagerReplicas(lambda: [self.alertmanager]),
            sink=self.sink,
        )

    def desire(self, wanted: Config) -> Desired:
        return desire(render(wanted, NOWHERE), self.nomad, lambda _, key: Secret(SECRET))

    def seen(self, wanted: Config) -> tuple[Desired, Observed]:
        desired = self.desire(wanted)
        return desired, observe(desired, self.nomad, self.consul)

    def plan(self, wanted: Config, *only: str) -> Plan:
        desired, observed = self.seen(wanted)
        return plan(desired, observed, only=frozenset(only))

    def tools(self, **changes: Any) -> Tools:
        usual = {"emit": self.events.append, "timeout": 60.0, "clock": self.clock}
        return Tools(nomad=self.nomad, consul=self.consul, **{**usual, **changes})

    def deploy(self, wanted: Config, **tools: Any) -> tuple[Change, ...]:
        desired, observed = self.seen(wanted)
        return apply(plan(desired, observed), desired, observed, self.tools(**tools))

    def registered(self) -> list[str]:
        """The jobs that were registered, as they came; all begin at once, so which is first says nothing."""
        return [job["ID"] for (job,) in self.nomad.called("register_job")]


def reasons(made: Plan) -> dict[str, str]:
    """What a plan would change, with the reason."""
    return {change.name: f"{change.action.value}: {change.reason}" for change in made.effective}


def only_job(desired: Desired, component: str) -> DesiredJob:
    return next(job for job in desired.jobs if job.component == component)
