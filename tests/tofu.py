"""OpenTofu, for the tests of terraform/. Providers come from a folder: each is the one that stands in for it.

The real ones cannot be had from a Go module proxy, so tests/provider_schemas has their schemas, each with the place it
was read from. OpenTofu then judges a module as it would with them; only what a provider itself checks is left out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from obsctl.local.source import Platform
from toolchain import tools

ROOT = Path(__file__).parents[1]
MODULES = ROOT / "terraform"
SCHEMAS = Path(__file__).parent / "provider_schemas"

programs = cache(tools.programs)


class Failed(Exception):
    """What tofu printed."""


class Tofu:
    """tofu in a folder of its own, which gets a copy of terraform/."""

    def __init__(self, folder: Path) -> None:
        self.modules = Path(shutil.copytree(MODULES, folder / "terraform"))
        self._mirror = folder / "providers"
        for schema in SCHEMAS.glob("*.json"):
            self._stand_in(schema)
        self._config = folder / "cli.tfrc"
        mirror = f'filesystem_mirror {{\n path = "{self._mirror}"\n }}'
        self._config.write_text(f"provider_installation {{\n {mirror}\n}}\n")

    def _stand_in(self, schema: Path) -> None:
        version, platform = json.loads(schema.read_text())["version"], Platform.current()
        place = self._mirror / "registry.opentofu.org/hashicorp" / schema.stem / version
        folder = place / f"{platform.os}_{platform.arch}"
        folder.mkdir(parents=True)
        shutil.copy(schema, folder / "schema.json")
        (folder / f"terraform-provider-{schema.stem}_v{version}").symlink_to(programs() / "provider-stand-in")

    def run(self, *arguments: str, folder: Path, **environ: str) -> str:
        """What tofu prints. Raises Failed."""
        answer = subprocess.run(
            [programs() / "tofu", *arguments], cwd=folder, capture_output=True, text=True, check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "TF_CLI_CONFIG_FILE": str(self._config), **environ},
        )  # fmt: skip
        if answer.returncode:
            raise Failed(" ".join((answer.stdout + answer.stderr).replace("│", " ").split()))
        return answer.stdout

    def use(self, module: str, folder: Path, values: dict[str, Any]) -> Path:
        """A configuration that uses the module with these values, ready for plan and apply."""
        folder.mkdir(exist_ok=True)
        names = re.findall(r'^output "(\w+)"', (self.modules / module / "outputs.tf").read_text(), re.MULTILINE)
        outputs = {name: {"value": f"${{module.it.{name}}}", "sensitive": True} for name in names}
        document = {"module": {"it": {"source": str(self.modules / module), **values}}, "output": outputs}
        (folder / "main.tf.json").write_text(json.dumps(document))
        self.run("init", "-no-color", folder=folder)
        return folder

    def outputs(self, folder: Path, **environ: str) -> dict[str, Any]:
        """Of the configuration, after it has been applied."""
        self.run("apply", "-auto-approve", "-no-color", folder=folder, **environ)
        said = json.loads(self.run("output", "-json", folder=folder))
        return {name: item["value"] for name, item in said.items()}
