"""What the stack is made of, and in which order it can start."""

from __future__ import annotations

from dataclasses import dataclass

from obsctl.config.schema import Component, Config


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """One component: its job template, and the components that must be healthy before it starts."""

    name: str
    template: str
    needs: tuple[str, ...] = ()
    demo: bool = False

    @property
    def service(self) -> str:
        """The name under which it is registered in Consul, which is also its job label in Prometheus."""
        return self.name

    def settings(self, config: Config) -> Component:
        section = config.demo if self.demo else config.components
        settings: Component = getattr(section, self.name.replace("-", "_"))
        return settings


ALL = (
    ComponentSpec("alert-sink", "alert-sink.nomad.hcl.j2"),
    ComponentSpec("warden", "warden.nomad.hcl.j2"),
    ComponentSpec("alertmanager", "alertmanager.nomad.hcl.j2", needs=("alert-sink",)),
    ComponentSpec("prometheus", "prometheus.nomad.hcl.j2", needs=("alertmanager",)),
    ComponentSpec("response-service", "demo/response-service.nomad.hcl.j2", demo=True),
    ComponentSpec("hello-service", "demo/hello-service.nomad.hcl.j2", needs=("response-service",), demo=True),
    ComponentSpec("traffic", "demo/traffic.nomad.hcl.j2", needs=("hello-service",), demo=True),
)


def enabled(config: Config) -> tuple[ComponentSpec, ...]:
    """The components that this config asks for."""
    return tuple(spec for spec in ALL if spec.settings(config).enabled and (config.demo.enabled or not spec.demo))


def phases(specs: tuple[ComponentSpec, ...]) -> dict[str, int]:
    """Component -> phase, 1 and up: one after the last of those it needs. What is not enabled is not waited for."""
    phase: dict[str, int] = {}
    for spec in specs:  # ALL lists a component after those it needs
        phase[spec.name] = 1 + max((phase[need] for need in spec.needs if need in phase), default=0)
    return phase


def job_id(stack: str, component: str) -> str:
    return f"{stack}-{component}"
