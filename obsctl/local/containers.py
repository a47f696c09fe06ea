"""The containers of one local cluster: Docker starts them, so they lack the mark by which processes are found."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ALLOCATION = "com.hashicorp.nomad.alloc_id"  # the label that Nomad gives each container


def of_allocations(folder: Path) -> list[str]:
    """Names of the containers, running or not, of the allocations with a folder in this one; none without Docker."""
    docker = shutil.which("docker")
    if docker is None or not folder.is_dir():
        return []
    row = f'{{{{.Names}}}} {{{{.Label "{ALLOCATION}"}}}}'
    listed = subprocess.run(
        [docker, "ps", "--all", "--filter", f"label={ALLOCATION}", "--format", row],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = [line.split() for line in listed.stdout.splitlines()] if listed.returncode == 0 else []
    return [name for name, allocation in rows if (folder / allocation).is_dir()]


def remove(names: Sequence[str], *, grace: float) -> None:
    """Ask them to end, kill those that still run after `grace` seconds, and remove them."""
    for command in (["stop", f"--time={grace:.0f}"], ["rm", "--force", "--volumes"]):
        if names:
            subprocess.run(["docker", *command, *names], capture_output=True, check=False)
