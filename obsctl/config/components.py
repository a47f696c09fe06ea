"""What every component has: settings in obsctl.yaml, and a row with the facts that obsctl needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from obsctl import names
from obsctl.config.placement import Placement
from obsctl.config.releases import Project
from obsctl.config.secrets import SecretRef
from obsctl.config.shapes import Clash, KeyPath, Misfit, PlainLine, Port, Strict, Word

if TYPE_CHECKING:
    from obsctl.config.schema import Config

OWN_UID = 10001  # the user of obsctl's own image (see Dockerfile), and by chance of Jaeger's and the collector's
NOBODY = 65534  # whom Nomad's exec driver runs tasks as, and the official images of Prometheus and Alertmanager


class Driver(StrEnum):
    """How Nomad runs a component: an image (docker, podman), or a program of the node (exec: in a chroot; raw_exec)."""

    DOCKER = "docker"
    PODMAN = "podman"
    EXEC = "exec"
    RAW_EXEC = "raw_exec"


class Availability(StrEnum):
    """How many of each component run: one (single), or several where one alone would be missed (ha), each on a node of
    its own; ha-one-node has them all on one, to rehearse it."""

    SINGLE = "single"
    HA = "ha"
    HA_ONE_NODE = "ha-one-node"


class Resources(Strict):
    """What Nomad reserves for a task."""

    cpu: Annotated[int, Field(strict=True, ge=1)] = 100
    """What Nomad reserves, in MHz."""
    memory: Annotated[int, Field(strict=True, ge=10)] = 128
    """What Nomad reserves, in MB."""


class Storage(Strict):
    """Where a component keeps its data."""

    kind: Literal["host", "dynamic", "ephemeral"] = "host"
    """host and dynamic survive restarts, updates and stops of the job; ephemeral is gone with the allocation. You make
    a host volume on the node; a dynamic volume is made by the deploy (not with raw_exec)."""
    source: Word | None = None
    """With kind host or dynamic: the Nomad host volume; default: the job's name. With raw_exec the data lies in the
    folder `<meta.obsctl_volumes>/<job>` of the node."""

    @model_validator(mode="after")
    def _ephemeral_has_no_source(self) -> Storage:
        if self.kind == "ephemeral" and self.source is not None:
            raise Clash(Misfit(("source",), "only kind: host and kind: dynamic have a source", ("kind",)))
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The facts about a component beside its settings. Its files are found by its name: the job jobs/NAME.nomad.hcl.j2
    (below jobs/demo/ for the demo), configuration files templates/NAME/*.j2, and alert rules alert-rules/NAME.yml.

    name: its key in obsctl.yaml, its service in Consul and its job label in Prometheus.
    uid: the user of its official image (USER in the image's Dockerfile), for whom its data must be writable.
    shows, page: what people see there, and under which path.
    needs: a deploy calls it done only when these are done. They start at the same time, because every program copes
    with a neighbour that does not answer yet.
    waits: it starts after those that it needs, because it reads their addresses only at its start.
    watches: it is updated before the others. If it stopped together with what it watches, it would believe for minutes
    after its return that all of that is down.
    down_alert: the alert that fires when no instance of it answers; "" for none, as for the alert path, which could not
    deliver it.
    on_alert_path: every notification passes through it.
    consul_program: the key below consul.tokens whose token it gets. asks_nomad: whether it does, by its identity.
    scrapes_servers: whether it scrapes the metrics of Nomad and Consul.
    secrets: the items of its Nomad Variable that the configuration refers to.
    generates: the items that obsctl makes up once and then keeps.
    copies: (component, item) of those that another component generates and this one has, too.
    check: the command that checks a configuration file of it, whose path comes last.
    project: where its program comes from on a local cluster, unless it is obsctl itself.
    """

    name: str
    shows: str
    page: str = "/"
    uid: int = OWN_UID
    needs: tuple[str, ...] = ()
    waits: bool = False
    watches: bool = False
    demo: bool = False
    down_alert: str = names.COMPONENT_DOWN
    on_alert_path: bool = False
    consul_program: str = ""
    asks_nomad: bool = False
    scrapes_servers: bool = False
    secrets: Callable[[Config], dict[str, SecretRef]] = lambda _: {}
    generates: tuple[str, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    check: tuple[str, ...] = ()
    project: Project | None = None

    def calls(self, server: str) -> bool:
        """Whether it talks to nomad or consul, and so needs a certificate where that server asks for one."""
        return self.scrapes_servers or (self.asks_nomad if server == "nomad" else bool(self.consul_program))


Image = Annotated[Word, Field(description="The container image (docker, podman).")]
Command = Annotated[
    PlainLine, Field(description="The program (exec, raw_exec): a path, or a name on the PATH of the Nomad client.")
]
NodePort = Annotated[
    Port,
    Field(
        description="The port on the node; no two that run may have the same. With profile ha-one-node Nomad chooses "
        "the ports of those that run several times."
    ),
]


class Component(Strict):
    """The settings that every component has."""

    row: ClassVar[Row]
    enabled: bool = True
    """false leaves it out."""
    driver: Driver | None = Field(default=None, examples=["docker"])
    """docker, podman, exec or raw_exec, for this component alone."""
    image: Image
    command: Command
    port: NodePort
    resources: Resources
    placement: Placement = Placement()
    """Node pool, constraints and affinities of this component, beside those of `nomad.placement`."""

    @model_validator(mode="before")
    @classmethod
    def _keep_other_resources(cls, value: object) -> object:
        """`resources: {cpu: 300}` changes the cpu and keeps this component's memory."""
        if not (isinstance(value, dict) and isinstance(value.get("resources"), dict)):
            return value
        usual = cls.model_fields["resources"].default
        return {**value, "resources": {**usual.model_dump(), **value["resources"]}}

    def key_path(self) -> KeyPath:
        """Its place in obsctl.yaml."""
        return ("demo" if self.row.demo else "components", self.row.name)

    def ports(self) -> dict[str, int]:
        """Key -> number of each port that it has on the node."""
        keys = type(self).model_fields
        return {key: getattr(self, key) for key in keys if key == "port" or key.endswith("_port")}

    def data(self) -> Storage | None:
        """Where it keeps its data; None when it has none."""
        storage: Storage | None = getattr(self, "storage", None)
        return storage

    def disk(self) -> int:
        """MB that it may take of its node's disk while others are away, or wants to stay free, beside its data."""
        return 0


class Replicated(Component):
    """A component that may run several times. replicas: how many run with profile ha."""

    replicas: ClassVar[int] = 2
    count: Annotated[int, Field(strict=True, ge=1, le=9)] | None = Field(default=None, examples=[1])
    """How many run at once; default: what the profile says. Several need as many nodes, unless that is ha-one-node."""


class OwnProgram(Component):
    """A component whose program is obsctl itself."""

    image: Image = "obsctl/obsctl:0.1.0"
    command: Command = "obsctl"
    resources: Resources = Resources(cpu=100, memory=128)
