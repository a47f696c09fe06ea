"""The house: every package and module with the first sentence of its docstring."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "obsctl"
_ORDER = (
    "", "config", "content", "clients", "stack", "doctor", "drills", "drills/plan", "drills/faults", "drills/run",
    "drills/tell", "telemetry", "services", "demo", "local", "cli",
)  # fmt: skip
"""In which order packages are read; those that are not named come last."""


def modules() -> str:
    packages = {file.parent for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"}
    return "\n".join(["```", *(line for package in sorted(packages, key=_place) for line in _lines(package)), "```"])


def _place(package: Path) -> tuple[int, str]:
    name = package.relative_to(PACKAGE).as_posix().strip(".")
    return _ORDER.index(name) if name in _ORDER else len(_ORDER), name


def _lines(package: Path) -> Iterator[str]:
    yield f"{package.relative_to(ROOT)}/  {_sentence(package / '__init__.py')}"
    for file in sorted(package.glob("*.py")):
        if file.name != "__init__.py":
            yield f"  {file.stem:<16} {_sentence(file)}"


def _sentence(file: Path) -> str:
    """The first paragraph's first sentence."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    words = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<!\.)\. ", words)[0].removesuffix(".")
