"""The programs that the local cluster runs, or that its jobs may name."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from obsctl.config.catalog import PROGRAMS
from obsctl.errors import ObsctlError
from obsctl.local.binaries import Binaries
from obsctl.local.folder import Folder
from obsctl.model import Emit, Event
from obsctl.wait import wait_until

NEEDED = ("consul", "nomad")
FOR_JOBS = tuple(name for name in PROGRAMS if name not in NEEDED)
TIMEOUT = 7200.0  # seconds, as long as two slow builds


def at_hand(binaries: Binaries) -> dict[str, Path]:
    """Name -> path of those that are already there. What is wrong with others is said when they are got."""
    paths: dict[str, Path] = {}
    for name in (*NEEDED, *FOR_JOBS):
        try:
            result = binaries.search(name)
        except ObsctlError:
            continue
        if result.program:
            paths[name] = result.program.path
            for remark in result.remarks:
                binaries.emit(Event(name, "note", remark))
    return {**paths, **_obsctl(binaries.emit)}


def wait_until_there(names: Iterable[str], path: str, folder: Folder, emit: Emit) -> None:
    """Wait for programs that an `up` is still putting into the folder. path: the PATH of the client. Raises ObsctlError
    when one is missing and no `up` gets it."""

    def missing() -> list[str]:
        return sorted(name for name in names if shutil.which(name, path=path) is None)

    if folder.is_being_filled() and missing():
        emit(Event("cluster", "note", f"obsctl dev up is still getting {', '.join(missing())}; waiting for that"))
        wait_until(
            lambda: not missing() or not folder.is_being_filled(),
            timeout=TIMEOUT,
            failure=f"{', '.join(missing())} did not arrive",
            hint="look at what the other obsctl prints",
            interval=0.5,
        )
    if missing():
        raise ObsctlError(
            f"the local cluster's Nomad client has no {', '.join(missing())} on its PATH, and jobs name it",
            hint="obsctl dev up gets the servers; install others, or set command in obsctl.yaml",
        )


def _obsctl(emit: Emit) -> dict[str, Path]:
    """The console script of this environment, for alert-sink, the warden and the demo."""
    script = Path(sys.executable).parent / "obsctl"
    if script.is_file():
        return {"obsctl": script}
    emit(Event("obsctl", "note", f"jobs cannot use it: there is no {script}"))
    return {}
