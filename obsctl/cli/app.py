"""What a command gets from the global options: the terminal, and the configuration when it asks for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from obsctl.errors import ObsctlError
from obsctl.state import ACCESS_FILE, local_cluster_folder
from obsctl.ui import Ui

if TYPE_CHECKING:
    from obsctl.config.load import Loaded
    from obsctl.config.shapes import KeyPath


@dataclass(frozen=True)
class App:
    """The global options, passed down by click as the context's object."""

    ui: Ui
    config_path: Path | None = None
    env: str | None = None
    settings: Mapping[KeyPath, bool] = field(default_factory=dict)
    """What the command itself says of the configuration, over file and environment."""

    @cached_property
    def loaded(self) -> Loaded:
        """The validated configuration and where it came from; read on first use."""
        from obsctl.config.load import load

        folder = local_cluster_folder()
        access = folder / ACCESS_FILE
        running = _running(folder) if access.exists() else ()
        return load(self.config_path, env=self.env, settings=self.settings, access=access, running=running)

    def confirm(self, question: str, *, unasked: str, declined: str) -> None:
        """Go on with a yes alone. Raises ObsctlError with `unasked` where nobody can be asked; `declined`: what a no
        leaves behind."""
        if not self.ui.is_interactive():
            raise ObsctlError(unasked, hint="add --yes")
        if not click.confirm(question, err=True):
            raise ObsctlError(f"not confirmed; {declined}", hint="run it again and answer y, or add --yes")


def _running(folder: Path) -> Collection[str]:
    from obsctl.local.access import Access
    from obsctl.local.control import Control
    from obsctl.local.folder import Folder

    return Control(Folder(folder), Access(folder)).running()
