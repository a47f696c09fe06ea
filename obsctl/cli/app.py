"""What a command gets from the global options: the terminal, and the configuration when it asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

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

        return load(self.config_path, env=self.env, settings=self.settings)
