"""Chroots of Nomad's driver exec that have no more in them than a test needs: by default all of /usr would be there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from obsctl.local.machines import CLIENT
from obsctl.model import Json
from tests.docker_images import libraries
from tests.local_cluster import configured


@contextmanager
def chroots_with(programs: Mapping[Path, str]) -> Iterator[None]:
    """Clusters that are started inside have these programs (path -> path in the chroot) and their libraries there."""
    inside = {str(program.resolve()): path for program, path in programs.items()}
    inside |= {str(library.resolve()): str(library) for library in libraries(programs)}
    inside["/etc/passwd"] = "/etc/passwd"  # where Nomad 1.6 looks for the task's user; by default all of /etc is there

    def with_chroot(agent: str, _: str, config: Json) -> None:
        if agent == CLIENT:
            config["client"]["chroot_env"] = inside

    with configured(with_chroot):
        yield
