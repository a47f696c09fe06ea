"""What a command gets from the global options: the terminal, and the config when it asks for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from obsctl.ui import Ui

if TYPE_CHECKING:
    from obsctl.config.load import Loaded


@dataclass(frozen=True)
class App:
    """The global options, passed down by click as the context's object."""

    ui: Ui
    config_path: Path | None = None
    env: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """OBSCTL_ variables of the command's own, over those of the environment."""

    @cached_property
    def loaded(self) -> Loaded:
        """The validated configuration and where it came from; read on first use."""
        from obsctl.config.load import load

        return load(self.config_path, env=self.env, environ={**os.environ, **self.settings})
