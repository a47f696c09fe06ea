"""The programs that the local cluster runs, or that its jobs may name."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from obsctl.errors import ObsctlError
from obsctl.local import binaries
from obsctl.local.folder import Folder
from obsctl.model import Emit, Event
from obsctl.wait import wait_until

NEEDED = ("consul", "nomad")
FOR_JOBS = tuple(name for name in binaries.PROGRAMS if name not in NEEDED)
TIMEOUT = 7200.0  # seconds, as long as two slow builds


def at_hand(configured: Mapping[str, str], emit: Emit) -> dict[str, Path]:
    """Name -> path of those that need not be got first. What is wrong with others is told by who gets them."""
    found: dict[str, Path] = {}
    for name in (*NEEDED, *FOR_JOBS):
        try:
            result = binaries.search(name, configured)
        except ObsctlError:
            continue
        if result.found:
            found[name] = result.found.path
            for remark in result.remarks:
                emit(Event(name, "note", remark))
    return {**found, **_obsctl(emit)}


def wait_until_there(names: Iterable[str], path: str, folder: Folder, emit: Emit) -> None:
    """Wait for those programs that an `up` still puts into the folder. path: where the client looks for them. Raises
    ObsctlError when one is missing and nobody gets it."""

    def missing() -> list[str]:
        return sorted(name for name in names if shutil.which(name, path=path) is None)

    if folder.is_being_filled() and missing():
        emit(Event("cluster", "note", f"obsctl dev up is still getting {', '.join(missing())}; waiting for that"))
        wait_until(
            lambda: not missing() or not folder.is_being_filled(),
            timeout=TIMEOUT,
            failure=f"{', '.join(missing())} did not arrive",
            hint="see what the other obsctl says",
            interval=0.5,
        )
    if missing():
        raise ObsctlError(
            f"the local cluster's Nomad client has no {', '.join(missing())} on its PATH, and jobs name it",
            hint="obsctl dev up gets the servers; else install it, or set command in obsctl.yaml",
        )


def _obsctl(emit: Emit) -> dict[str, Path]:
    """The console script of this very environment, for alert-sink, warden and the demo."""
    script = Path(sys.executable).parent / "obsctl"
    if script.is_file():
        return {"obsctl": script}
    emit(Event("obsctl", "note", f"jobs cannot use it: there is no {script}"))
    return {}
