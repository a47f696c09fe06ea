"""The programs that the local cluster runs, or that its jobs may name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from obsctl.errors import ObsctlError
from obsctl.local import binaries
from obsctl.model import Emit, Event

NEEDED = ("consul", "nomad")
FOR_JOBS = tuple(name for name in binaries.SERVERS if name not in NEEDED)


def obtain_all(configured: Mapping[str, str], emit: Emit) -> dict[str, Path]:
    """Name -> path. Raises ObsctlError when one of NEEDED cannot be had; does without the others."""
    found = {name: binaries.obtain(name, configured, emit=emit) for name in NEEDED}
    for name in FOR_JOBS:
        try:
            found[name] = binaries.obtain(name, configured, emit=emit)
        except ObsctlError as error:
            emit(Event(name, "note", f"jobs cannot use it: {error.message}"))
    return {**found, **_obsctl(emit)}


def _obsctl(emit: Emit) -> dict[str, Path]:
    """The console script of this very environment, for alert-sink, warden and the demo."""
    script = Path(sys.executable).parent / "obsctl"
    if script.is_file():
        return {"obsctl": script}
    emit(Event("obsctl", "note", f"jobs cannot use it: there is no {script}"))
    return {}
