"""Programs that only tests need, built from their modules here: OpenTofu, and the provider that stands in for others.

`make tofu` builds them. They lie in the same cache as the servers, and no command of obsctl gets or uses them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from obsctl.config.catalog import PROGRAMS
from obsctl.config.releases import Project, Publisher
from obsctl.local.build import GoBuild
from obsctl.local.cache import Cache
from obsctl.local.source import Platform
from obsctl.model import Event, silent

TOOLCHAIN = Path(__file__).parent
OPENTOFU = Project(
    name="opentofu",
    publisher=Publisher(
        mirror="OBSCTL_RELEASES_OPENTOFU",
        base="https://github.com/opentofu",
        folder="{project}/releases/download/v{version}",
        archive="tofu_{version}_{os}_{arch}.tar.gz",
        checksums="tofu_{version}_SHA256SUMS",
        member="{program}",
    ),
    release_version="1.12.6",
    built_version="1.12.6",
    minimum=(1, 6, 0),
    packages={"tofu": "github.com/opentofu/opentofu/cmd/tofu", "provider-stand-in": "."},
    build_minutes=4,
)
PROJECTS = [*{program.project.name: program.project for program in PROGRAMS.values()}.values(), OPENTOFU]
"""All that is built from the modules here."""


def programs() -> Path:
    """The folder that has both programs. Raises SourceFailed when they cannot be built."""
    build = GoBuild(OPENTOFU, Platform.current(), TOOLCHAIN, os.environ)
    cache = Cache.of(os.environ)
    with cache.locked(OPENTOFU.name, silent):
        if found := cache.program(build.entry, "tofu"):
            return found.parent
        with cache.scratch(OPENTOFU.name) as scratch:
            return cache.place(build.make(scratch, _tell), build.entry)


def _tell(event: Event) -> None:
    if event.state != "progress":
        print(f"{event.subject}: {event.text}", file=sys.stderr)


if __name__ == "__main__":
    print(programs())
