"""Chroots of Nomad's driver exec that have no more in them than a test needs: by default all of /usr would be there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from obsctl.local import agents, control
from tests.docker_images import libraries


@contextmanager
def chroots_with(programs: Mapping[Path, str]) -> Iterator[None]:
    """Clusters that are started inside have these programs (path -> path in the chroot) and their libraries there."""
    inside = {str(program.resolve()): path for program, path in programs.items()}
    inside |= {str(library.resolve()): str(library) for library in libraries(programs)}
    inside["/etc/passwd"] = "/etc/passwd"  # where Nomad 1.6 looks for the task's user; by default all of /etc is there

    def config_text(agent: str, *more: Any) -> str:
        config = json.loads(agents.config_text(agent, *more))
        if agent == agents.CLIENT:
            config["client"]["chroot_env"] = inside
        return json.dumps(config)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(control, "config_text", config_text)
        yield
