"""The commented obsctl.yaml that `obsctl init` writes."""

from __future__ import annotations

import os
from pathlib import Path

from obsctl.config.load import FILE_NAME
from obsctl.errors import ObsctlError

EXAMPLE = Path(__file__).with_name("obsctl.example.yaml")


def write(folder: Path) -> Path:
    """Write the example into `folder`, which is created if it is missing; returns its path.

    The file is written completely or not at all, and never over another one. Raises ObsctlError.
    """
    target = folder / FILE_NAME
    draft = folder / f".{FILE_NAME}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _place(target, draft)
    except FileExistsError as error:
        if error.filename2 is None:
            raise ObsctlError(
                f"{error.filename} is a file, not a folder", hint="name a folder: obsctl init DIR"
            ) from None
        raise ObsctlError(
            f"{target} is there already; nothing was changed",
            hint="obsctl config show prints what it says; to start again, move it away first",
        ) from None
    except OSError as error:
        raise ObsctlError(
            f"{target} cannot be written: {error.strerror}", hint="choose another folder: obsctl init DIR"
        ) from None
    return target


def _place(target: Path, draft: Path) -> None:
    """Unlike a rename, a link never replaces a file."""
    try:
        with draft.open("xb") as file:
            file.write(EXAMPLE.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, target)
    finally:
        draft.unlink(missing_ok=True)
