"""The supported versions of Nomad and Consul, and the keys of obsctl.yaml that need newer ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obsctl import names
from obsctl.model import Finding, Severity

if TYPE_CHECKING:
    from obsctl.config.schema import Config
    from obsctl.config.shapes import KeyPath

Version = tuple[int, ...]
"""(1, 10, 4); as a bound it may be shorter: (1, 10) is older than every 1.10."""


@dataclass(frozen=True, slots=True)
class Supported:
    """The oldest version that obsctl works with, and the newest that it was tried with: (2, 0) is every 2.0."""

    oldest: Version
    newest: Version


SUPPORTED = {"nomad": Supported((1, 6), (2, 0)), "consul": Supported((1, 14), (1, 22))}


def _dynamic_volumes(config: Config) -> Iterator[KeyPath]:
    for component in config.enabled_components():
        storage = component.data()
        if storage and storage.kind == "dynamic":
            yield (*component.key_path(), "storage", "kind")


def _identities(config: Config) -> Iterator[KeyPath]:
    if config.consul.workload_identity:
        yield "consul", "workload_identity"


def _system_jobs(config: Config) -> Iterator[KeyPath]:
    if config.components.otel_agent.enabled:
        yield "components", names.OTEL_AGENT, "enabled"


@dataclass(frozen=True, slots=True)
class Need:
    """A feature that a server has since a version.

    what: a noun, in the plural. otherwise: what to do, or what happens, with an older server. asking_keys: the keys of
    a configuration that need it. severity: ERROR when an older server is refused, WARNING when the cluster has to be
    set up in another way, INFO when obsctl only does less.
    """

    server: str
    since: Version
    what: str
    otherwise: str
    asking_keys: Callable[[Config], Iterator[KeyPath]] = lambda _: iter(())
    severity: Severity = Severity.ERROR

    @property
    def refused(self) -> bool:
        return self.severity is Severity.ERROR

    @property
    def words(self) -> str:
        return f"{self.what} need {title(self.server, self.since)} or newer"

    @property
    def hint(self) -> str:
        upgrade = f"upgrade {self.server.capitalize()}, or {self.otherwise}"
        return self.otherwise if self.severity is Severity.INFO else upgrade


REJOIN_AGE = Need(
    "consul",
    (1, 15, 3),
    "limits to how long a server may have been away (`server_rejoin_age_max`)",
    "there is no limit; where there is one, the local cluster sets it high, so that it starts after a long pause too",
)
IDENTITIES = Need(
    "nomad",
    (1, 7),
    "Consul tokens of each task's own (workload identity)",
    "leave `consul.workload_identity` out, and the Nomad clients' own token reads Consul for all tasks",
    _identities,
)
SERVICE_IDENTITY = Need(
    "consul",
    (1, 15),
    "services that leave Consul after Nomad has ended their token (`service_identity` of Nomad's agents)",
    "leave `service_identity` out of Nomad's agents, keep `task_identity`, and deploy all jobs again: else what ran on "
    "a node that crashed stays in Consul, and pages until it is taken out there by hand",
    _identities,
    Severity.WARNING,
)
"""Older ones ask by the service's own token, and go on asking when it is gone (Consul's pull request 16097)."""
DYNAMIC_VOLUMES = Need(
    "nomad",
    (1, 10),
    "dynamic host volumes",
    "declare a volume in the configuration of the Nomad clients, and say `storage.kind: host`",
    _dynamic_volumes,
)
NEEDS = (
    IDENTITIES,
    SERVICE_IDENTITY,
    DYNAMIC_VOLUMES,
    Need(
        "nomad",
        (1, 11),
        "deployments of system jobs",
        "a bad version of otel-agent is not taken back by Nomad; the deploy still sees it, and fails",
        _system_jobs,
        Severity.INFO,
    ),
    Need(
        "nomad",
        (1, 11),
        "chroots of `exec` without `/etc/passwd`",
        "a `chroot_env` of your own must have it: the user of the tasks, nobody, is looked for there",
    ),
    REJOIN_AGE,
)


def parse(text: str) -> Version:
    """(1, 11, 2) of "1.11.2-beta.1+ent"; () when it is not a version."""
    numbers = re.match(r"v?(\d{1,9}(?:\.\d{1,9}){0,3})(?!\d)", text, re.ASCII)
    return tuple(int(part) for part in numbers[1].split(".")) if numbers else ()


def written(version: Version) -> str:
    return ".".join(map(str, version))


def title(server: str, version: Version) -> str:
    """As people call it: Nomad 1.10."""
    return f"{server.capitalize()} {written(version)}"


def unmet(config: Config, servers: Mapping[str, Version]) -> Iterator[tuple[Need, KeyPath]]:
    """What the configuration needs and these servers do not have, with each key that needs it.

    servers: "nomad" and "consul" -> version. A server that is missing, or is (), is taken to have everything.
    """
    for need in NEEDS:
        known = servers.get(need.server)
        if known and known < need.since:
            yield from ((need, path) for path in need.asking_keys(config))


def findings(config: Config, servers: Mapping[str, Version]) -> list[Finding]:
    """Versions that are too old, unknown or untested, and keys that need newer ones."""
    results = [finding for server, version in servers.items() for finding in _judged(server, version)]
    for need, path in unmet(config, servers):
        what = f"{need.words}, and this is {written(servers[need.server])}"
        results.append(Finding(need.severity, ".".join(map(str, path)), what, need.hint))
    return results


def _judged(server: str, version: Version) -> Iterator[Finding]:
    known = SUPPORTED[server]
    if not version:
        yield Finding(
            Severity.WARNING,
            server,
            "does not tell its version, so obsctl cannot know what it supports",
            "check which version runs",
        )
    elif version < known.oldest:
        what = f"is {written(version)}; obsctl needs {written(known.oldest)} or newer"
        yield Finding(Severity.ERROR, server, what, f"upgrade {server.capitalize()}")
    elif version[: len(known.newest)] > known.newest:
        what = f"is {written(version)}, and obsctl was tested up to version {written(known.newest)}"
        yield Finding(Severity.WARNING, server, what, "look for a newer obsctl")
