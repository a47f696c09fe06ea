"""The programs that obsctl gets for a local cluster and for checks: who publishes them, and which versions it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from obsctl.config.versions import SUPPORTED, Version


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
PROMETHEUS_VERSION = "github.com/prometheus/common/version.Version"
"""The Go variable that holds the version of every program of the Prometheus project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One release archive or one folder of toolchain/, with one or more programs.

    minimum: the oldest version that has everything that obsctl needs. packages: program name -> Go package.
    build_minutes: how long a first build takes. has_c: whether a build needs a C compiler.
    version_variable: the Go variable that a build sets to `version_text`, in which {version} is the version built.
    version_argument: makes its programs print their version. version_title: a pattern of what they print before it,
    if that is not the program's name. released_as: the publisher's name for it, if that is different.
    """

    name: str
    publisher: Publisher
    release_version: str
    built_version: str
    minimum: Version
    packages: Mapping[str, str]
    build_minutes: float
    has_c: bool = False
    version_variable: str | None = None
    version_text: str = "{version}"
    version_argument: str = "--version"
    version_title: str = ""
    released_as: str = ""

    @property
    def release_name(self) -> str:
        return self.released_as or self.name

    @property
    def build_time(self) -> str:
        """In words."""
        special = {0.5: "half a minute", 1: "a minute"}
        return special.get(self.build_minutes, f"{self.build_minutes:g} minutes")


@dataclass(frozen=True, slots=True)
class Program:
    """One program of a project."""

    name: str
    project: Project

    def parse_version(self, output: str) -> Version | None:
        """The version in the output: "Nomad v1.11.2", "prometheus, version 3.15.0 (…)"; None when it has none."""
        title = self.project.version_title or rf"{self.name},?(?: version)? "
        match = re.search(rf"^{title}v?(\d+)\.(\d+)\.(\d+)", output, re.MULTILINE | re.IGNORECASE)
        return tuple(int(number) for number in match.groups()) if match else None


NOMAD = Project(
    name="nomad",
    publisher=HASHICORP,
    release_version="2.0.5",
    built_version="1.6.1",
    minimum=SUPPORTED["nomad"].oldest,
    packages={"nomad": "github.com/hashicorp/nomad"},
    build_minutes=4,
    has_c=True,
    version_argument="version",
)
CONSUL = Project(
    name="consul",
    publisher=HASHICORP,
    release_version="1.22.0",
    built_version="1.14.11",
    minimum=SUPPORTED["consul"].oldest,
    packages={"consul": "github.com/hashicorp/consul"},
    build_minutes=4,
    version_argument="version",
)
COLLECTOR = Project(
    name="otelcol",
    publisher=OPENTELEMETRY,
    release_version="0.165.0",
    built_version="0.165.0",
    minimum=(0, 165, 0),
    packages={"otelcol": "."},
    build_minutes=5,
    version_variable="main.version",
    version_title=r"otelcol[a-z-]* version ",
    released_as="otelcol-contrib",
)
