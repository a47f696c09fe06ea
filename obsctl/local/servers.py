"""The servers obsctl runs on a laptop and in tests: which versions, and where each comes from."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from obsctl.config.versions import SUPPORTED, Version


@dataclass(frozen=True, slots=True)
class Platform:
    """What a release is built for, in Go's words: linux/amd64."""

    os: str
    arch: str

    @classmethod
    def current(cls) -> Platform:
        machine = platform.machine().lower()
        return cls(os=sys.platform, arch={"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine))


@dataclass(frozen=True, slots=True)
class Publisher:
    """How a publisher lays out its releases.

    base: the URL before `folder`; the environment variable `mirror` replaces it.
    The patterns take {project} (as the publisher calls it), {version}, {os} and {arch}; `member` takes {program} too.
    """

    mirror: str
    base: str
    folder: str
    archive: str
    checksums: str
    member: str


HASHICORP = Publisher(
    mirror="OBSCTL_RELEASES_HASHICORP",
    base="https://releases.hashicorp.com",
    folder="{project}/{version}",
    archive="{project}_{version}_{os}_{arch}.zip",
    checksums="{project}_{version}_SHA256SUMS",
    member="{program}",
)
PROMETHEUS = Publisher(
    mirror="OBSCTL_RELEASES_PROMETHEUS",
    base="https://github.com/prometheus",
    folder="{project}/releases/download/v{version}",
    archive="{project}-{version}.{os}-{arch}.tar.gz",
    checksums="sha256sums.txt",
    member="{project}-{version}.{os}-{arch}/{program}",
)
JAEGER = Publisher(
    mirror="OBSCTL_RELEASES_JAEGERTRACING",
    base="https://github.com/jaegertracing",
    folder="{project}/releases/download/v{version}",
    archive="{project}-{version}-{os}-{arch}.tar.gz",
    checksums="{project}-{version}.sha256sum.txt",
    member="{project}-{version}-{os}-{arch}/{program}",
)
VICTORIAMETRICS = Publisher(
    mirror="OBSCTL_RELEASES_VICTORIAMETRICS",
    base="https://github.com/VictoriaMetrics",
    folder="VictoriaLogs/releases/download/v{version}",
    archive="{project}-{os}-{arch}-v{version}.tar.gz",
    checksums="{project}-{os}-{arch}-v{version}_checksums.txt",
    member="{program}-prod",
)
OPENTELEMETRY = Publisher(
    mirror="OBSCTL_RELEASES_OPENTELEMETRY",
    base="https://github.com/open-telemetry",
    folder="opentelemetry-collector-releases/releases/download/v{version}",
    archive="{project}_{version}_{os}_{arch}.tar.gz",
    checksums="opentelemetry-collector-releases_{project}_checksums.txt",
    member="{project}",
)


@dataclass(frozen=True, slots=True)
class Project:
    """What is released, or built, as one: a release archive, a folder of toolchain/, one or more programs.

    packages: program name -> Go package. version_variable: the Go variable that a build sets to `version_text`, in
    which {version} is the version built.
    build_time: how long a first build takes, in words. released_as: the publisher's name for it, where that is
    another; two projects may have one release. has_c: whether a build needs a C compiler.
    """

    name: str
    publisher: Publisher
    release_version: str
    built_version: str
    packages: Mapping[str, str]
    build_time: str
    version_variable: str | None = None
    version_text: str = "{version}"
    released_as: str = ""
    has_c: bool = False

    @property
    def release_name(self) -> str:
        return self.released_as or self.name


@dataclass(frozen=True, slots=True)
class Server:
    """One program. minimum: the oldest version that has all that obsctl asks of it.

    title: a pattern of what stands before its version where that is not its name.
    """

    name: str
    project: Project
    minimum: Version
    version_argument: str
    title: str = ""

    def parse_version(self, output: str) -> Version | None:
        """The version in what the program prints: "Nomad v1.11.2", "prometheus, version 3.15.0 (…)".

        None when it is another program, or one that does not know its version.
        """
        title = self.title or rf"{self.name},?(?: version)? "
        match = re.search(rf"^{title}v?(\d+)\.(\d+)\.(\d+)", output, re.MULTILINE | re.IGNORECASE)
        if match is None:
            return None
        return tuple(int(number) for number in match.groups())


_NOMAD = Project(
    name="nomad",
    publisher=HASHICORP,
    release_version="2.0.5",
    built_version="1.6.1",
    packages={"nomad": "github.com/hashicorp/nomad"},
    has_c=True,
    build_time="4 minutes",
)
_CONSUL = Project(
    name="consul",
    publisher=HASHICORP,
    release_version="1.22.0",
    built_version="1.14.11",
    packages={"consul": "github.com/hashicorp/consul"},
    build_time="4 minutes",
)
_COMMON_VERSION = "github.com/prometheus/common/version.Version"
_PROMETHEUS = Project(
    name="prometheus",
    publisher=PROMETHEUS,
    release_version="3.14.0",
    built_version="3.16.0",
    packages={
        "prometheus": "github.com/prometheus/prometheus/cmd/prometheus",
        "promtool": "github.com/prometheus/prometheus/cmd/promtool",
    },
    build_time="7 minutes",
    version_variable=_COMMON_VERSION,
)
_ALERTMANAGER = Project(
    name="alertmanager",
    publisher=PROMETHEUS,
    release_version="0.31.1",
    built_version="0.31.1",
    packages={
        "alertmanager": "github.com/prometheus/alertmanager/cmd/alertmanager",
        "amtool": "github.com/prometheus/alertmanager/cmd/amtool",
    },
    build_time="a minute",
    version_variable=_COMMON_VERSION,
)
# The module is the version 2 program under a version 1 tag; later ones cannot be had as a module.
_JAEGER = Project(
    name="jaeger",
    publisher=JAEGER,
    release_version="2.20.0",
    built_version="2.13.0",
    packages={"jaeger": "github.com/jaegertracing/jaeger/cmd/jaeger"},
    build_time="4 minutes",
    version_variable="github.com/jaegertracing/jaeger/internal/version.latestVersion",
)
_VICTORIALOGS = Project(
    name="victorialogs",
    publisher=VICTORIAMETRICS,
    release_version="1.52.1",
    built_version="1.52.1",
    packages={"victoria-logs": "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs"},
    build_time="half a minute",
    version_variable="github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version",
    version_text="victoria-logs-v{version}",
    released_as="victoria-logs",
)
_OTELCOL = Project(
    name="otelcol",
    publisher=OPENTELEMETRY,
    release_version="0.165.0",
    built_version="0.165.0",
    packages={"otelcol": "."},
    build_time="5 minutes",
    version_variable="main.version",
    released_as="otelcol-contrib",
)

# Prometheus: health_filter came with 3.11.2, and --config.auto-reload is stable since 3.12.
# The order in which they are got: first what the local cluster itself is, last what is quickly built.
SERVERS: dict[str, Server] = {
    server.name: server
    for server in (
        Server("nomad", _NOMAD, SUPPORTED["nomad"].oldest, "version"),
        Server("consul", _CONSUL, SUPPORTED["consul"].oldest, "version"),
        Server("prometheus", _PROMETHEUS, (3, 12, 0), "--version"),
        Server("promtool", _PROMETHEUS, (3, 12, 0), "--version"),
        Server("otelcol", _OTELCOL, (0, 165, 0), "--version", title=r"otelcol[a-z-]* version "),
        Server("jaeger", _JAEGER, (2, 13, 0), "--version", title=r"jaeger version (?:.*git-version=)?"),
        Server("alertmanager", _ALERTMANAGER, (0, 27, 0), "--version"),
        Server("amtool", _ALERTMANAGER, (0, 27, 0), "--version"),
        Server("victoria-logs", _VICTORIALOGS, (1, 0, 0), "-version", title=r"victoria-logs-(?:\S*-)?"),
    )
}
