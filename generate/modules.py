"""The tables in the READMEs of terraform/: what each module takes and gives, read from its own files."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r'^(?:variable|output) "(\w+)" \{\n(.*?)^\}', re.DOTALL | re.MULTILINE)
_ARGUMENT = re.compile(r"^  (\w+)\s+= (<<-EOT\n.*?^\s*EOT|\{\n.*?^  \}|\w+\((?:\w*\()?\{\n.*?^  \}\)+|[^\n]+)$",
                       re.DOTALL | re.MULTILINE)  # fmt: skip


def parts() -> dict[tuple[str, str], str]:
    """(document, name of the part) -> its text."""
    found = {}
    for folder in sorted((ROOT / "terraform").iterdir()):
        if folder.is_dir():
            readme = f"terraform/{folder.name}/README.md"
            found[readme, "inputs"] = _inputs(folder)
            found[readme, "outputs"] = _outputs(folder)
    return found


def _inputs(folder: Path) -> str:
    rows = ["| Variable | Type | Default | |", "|---|---|---|---|"]
    for name, arguments in _blocks(folder / "variables.tf"):
        default = f"`{_one_line(arguments['default'])}`" if "default" in arguments else "(required)"
        rows.append(f"| `{name}` | `{_one_line(arguments['type'])}` | {default} | {_words(arguments['description'])} |")
    return "\n".join(rows)


def _outputs(folder: Path) -> str:
    rows = ["| Output | |", "|---|---|"]
    rows += [f"| `{name}` | {_words(arguments['description'])} |" for name, arguments in _blocks(folder / "outputs.tf")]
    return "\n".join(rows)


def _blocks(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    for name, body in _BLOCK.findall(file.read_text(encoding="utf-8")):
        yield name, dict(_ARGUMENT.findall(body))


def _words(description: str) -> str:
    if description.startswith("<<-EOT"):
        lines = textwrap.dedent("\n".join(description.splitlines()[1:-1])).splitlines()
        return " ".join(lines).replace("|", "\\|")
    return description[1:-1].replace('\\"', '"').replace("|", "\\|")


def _one_line(value: str) -> str:
    """Of a type or a default, as one would write it in a line."""
    line = re.sub(r"\s+", " ", re.sub(r"\n\s+(?=\w+\s+=)", ", ", value))
    return re.sub(r",,", ",", line).replace("{, ", "{ ").replace("|", "\\|")
