"""What the stack is made of, and what needs what."""

from __future__ import annotations

from dataclasses import dataclass

from obsctl import names
from obsctl.config.schema import Component, Config, Driver

NOBODY = 65534  # whom Nomad's exec driver runs tasks as, and the official images of Prometheus and Alertmanager
# The user of obsctl's own image (see Dockerfile), and by chance of Jaeger's and the collector's.
OWN_UID = 10001
ROOT = 0  # the user of VictoriaLogs' official image
GRAFANA = 472  # the user of Grafana's official image


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """One component: its job template, and the components that it does its work with.

    needs: a deploy calls it done only when these are. It starts together with them, for every program here copes with
    a neighbour that is not there yet.
    waits: it starts after them all the same, since it reads only at its start where they are.
    watches: of an update it is the first. Of what goes away just before it does itself, the last it knows is that it
    was down, and it would tell so for minutes when it is back.
    uid: the user of its official image (USER in the image's Dockerfile), for whom its data must be writable.
    files: its configuration, made from templates/<name>/<file>.j2, which travels through Consul KV.
    reads_consul, asks_nomad: whether it gets the token of Consul or Nomad, if there is one.
    generates: its secrets that nobody chooses: they are made once, and kept in its Nomad Variable.
    """

    name: str
    template: str
    uid: int
    needs: tuple[str, ...] = ()
    waits: bool = False
    watches: bool = False
    demo: bool = False
    files: tuple[str, ...] = ()
    reads_consul: bool = False
    asks_nomad: bool = False
    generates: tuple[str, ...] = ()

    @property
    def service(self) -> str:
        """The name under which it is registered in Consul, which is also its job label in Prometheus."""
        return self.name

    def settings(self, config: Config) -> Component:
        section = config.demo if self.demo else config.components
        settings: Component = getattr(section, self.name.replace("-", "_"))
        return settings

    def owner(self, config: Config) -> int | None:
        """The uid that writes its data; None with raw_exec, where that is the user whom Nomad itself runs as."""
        driver = config.driver_of(self.settings(config))
        return {Driver.EXEC: NOBODY, Driver.RAW_EXEC: None}.get(driver, self.uid)


ALL = (
    ComponentSpec(names.ALERT_SINK, "alert-sink.nomad.hcl.j2", OWN_UID),
    ComponentSpec("warden", "warden.nomad.hcl.j2", OWN_UID, reads_consul=True, asks_nomad=True),
    ComponentSpec(
        "alertmanager", "alertmanager.nomad.hcl.j2", NOBODY, needs=(names.ALERT_SINK,), files=("alertmanager.yml",)
    ),
    ComponentSpec(
        "prometheus",
        "prometheus.nomad.hcl.j2",
        NOBODY,
        watches=True,
        files=("prometheus.yml",),
        reads_consul=True,
    ),
    ComponentSpec("victorialogs", "victorialogs.nomad.hcl.j2", ROOT, generates=("maintenance_key",)),
    ComponentSpec("jaeger", "jaeger.nomad.hcl.j2", OWN_UID, files=("jaeger.yml",)),
    ComponentSpec(
        names.OTEL_GATEWAY,
        "otel-gateway.nomad.hcl.j2",
        OWN_UID,
        needs=("victorialogs", "jaeger"),
        files=("otel-gateway.yml",),
    ),
    ComponentSpec(
        names.OTEL_AGENT,
        "otel-agent.nomad.hcl.j2",
        OWN_UID,
        needs=(names.OTEL_GATEWAY,),
        files=("otel-agent.yml",),
        asks_nomad=True,
    ),
    ComponentSpec(
        "grafana",
        "grafana.nomad.hcl.j2",
        GRAFANA,
        needs=("prometheus", "alertmanager", "victorialogs", "jaeger"),
        waits=True,
        files=("grafana.ini", "datasources.yml", "dashboards.yml"),
        generates=("admin_password", "secret_key"),
    ),
    ComponentSpec(
        names.RESPONSE_SERVICE,
        "demo/response-service.nomad.hcl.j2",
        OWN_UID,
        needs=(names.OTEL_AGENT,),
        demo=True,
        reads_consul=True,
    ),
    ComponentSpec(
        names.HELLO_SERVICE,
        "demo/hello-service.nomad.hcl.j2",
        OWN_UID,
        needs=(names.RESPONSE_SERVICE,),
        demo=True,
        reads_consul=True,
    ),
    ComponentSpec(
        "traffic", "demo/traffic.nomad.hcl.j2", OWN_UID, needs=(names.HELLO_SERVICE,), demo=True, reads_consul=True
    ),
)


def enabled(config: Config) -> tuple[ComponentSpec, ...]:
    """The components that this config asks for."""
    return tuple(spec for spec in ALL if spec.settings(config).enabled and (config.demo.enabled or not spec.demo))


def named(name: str) -> ComponentSpec:
    return next(spec for spec in ALL if spec.name == name)
