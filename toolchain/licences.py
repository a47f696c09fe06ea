"""Which licences the Go modules have that are linked into the servers: read from their texts, and kept in licences/.

`make licences` writes licences/PROJECT.txt, one line a module: its name, its version, the checksum that go.sum has of
it, its licences and the files that say so. A checksum stands for every byte of a module. So a table can be trusted
where the texts are not at hand, as long as it has the checksums of go.sum and was made from the very go.mod and go.sum
that are here. tests/unit/test_licences.py holds it to both, and reads the texts again where the module cache has them.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from obsctl import children

TOOLCHAIN = Path(__file__).parent
TABLES = TOOLCHAIN / "licences"

OPEN = frozenset(
    {"Apache-2.0", "MIT", "BSD", "ISC", "MPL-2.0", "Zlib", "0BSD", "CC0-1.0", "Unlicense", "CC-BY-4.0", "PostgreSQL"}
)
"""What may be linked. Everything else is refused: by name where it is known, else as unknown."""

# Of each licence what its text says and no other's does, in lower case and with single spaces.
_SIGNS = {
    "Apache-2.0": r"apache license,? version 2\.0|licensed under the apache 2\.0",
    "MIT": r"permission is hereby granted, free of charge, to any person obtaining a copy",
    "BSD": r"redistribution and use in source and binary forms, with or without modification, are permitted",
    "ISC": r"permission to use, copy, modify, and(?:/or)? distribute this software for any purpose with or without fee"
    r" is hereby granted, provided",
    "MPL-2.0": r"mozilla public license,? (?:version|v\.?) ?2\.0",
    "Zlib": r"altered source versions must be plainly marked as such",
    "0BSD": r"permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"
    r" is hereby granted\.",
    "CC0-1.0": r"cc0 1\.0 universal",
    "Unlicense": r"this is free and unencumbered software released into the public domain",
    "CC-BY-4.0": r"creative commons attribution 4\.0 international",
    "BUSL": r"business source license|\bbusl\b|change license:",
    "AGPL": r"gnu affero general public license|\bagpl",
    "SSPL": r"server side public license|\bsspl\b",
    "LGPL": r"gnu lesser general public license|gnu library general public license|\blgpl",
    "GPL": r"gnu general public license|\bgpl\b|\bgpl-",
    "EPL": r"eclipse public license",
    "Elastic": r"elastic license",
    "Commons Clause": r"commons clause",
    "PolyForm": r"polyform",
    "RSAL": r"redis source available license",
    "FSL": r"functional source license",
    "Confluent": r"confluent community license",
}
# What the text of the MPL (and of the EPL) says of other licences, which is no grant under them.
_SECONDARY = re.compile(r"[\"“]?secondary licenses?[\"”]? means? either.*?(?:those|such) licenses\.")
_SPDX = re.compile(rb"SPDX-License-Identifier:\s*([A-Za-z0-9.+ ()-]+)")
_BY_SPDX = {"BSD-2-Clause": "BSD", "BSD-3-Clause": "BSD", "BUSL-1.1": "BUSL"}
_FILE = re.compile(r"(?i)^(?:[\w.-]*[-_.])?(?:un)?(?:licen[cs]es?|copying)(?:[-_.][\w.-]*)?$")
_FOLDER = re.compile(r"(?i)^licen[cs]es?$")
_CODE = re.compile(r"(?i)\.(?:go|py|js|ts|css|json|ya?ml|hcl|tmpl|tpl|proto|sh|s|c|h|rb|toml|xml|svg|png)$")
_HEAD = 2048
"""Bytes of a source file in which its licence is looked for."""


_READ_BY_HAND = {
    ("github.com/hashicorp/vic", "v1.5.1-0.20190403131502-bbfe86ec9443", "LICENSE"): "Apache-2.0",
    ("github.com/hashicorp/vic", "v1.5.1-0.20190403131502-bbfe86ec9443", "open_source_license"): "Apache-2.0",
    ("kernel.org/pub/linux/libs/security/libcap/psx", "v1.2.66", "License"): "BSD",
    ("github.com/tj/go-spin", "v1.1.0", "Readme.md"): "MIT",
}
"""What a program would get wrong. vic: Apache-2.0, and below it notices of other programs that its appliance bundles,
of which nothing is in the packages that are linked. psx: BSD or GPL, as one likes. go-spin: only its Readme says it."""


class Unknowable(Exception):
    """The licences cannot be told; says what to do."""


@dataclass(frozen=True, slots=True)
class Module:
    """A linked module. sum: its line in go.sum ("h1:…").

    said: file, relative to the module -> the licences it names, in the root and in every folder down to a linked
    package; of source files those alone that name one which is not open.
    """

    path: str
    version: str
    sum: str
    said: Mapping[str, frozenset[str]]

    @property
    def licences(self) -> frozenset[str]:
        return frozenset().union(*self.said.values())

    def fault(self) -> str | None:
        """Why it must not be linked, if so."""
        if not self.licences:
            where = f"what {', '.join(self.said)} says is unknown" if self.said else "it has no file of a licence"
            return f"{self.path} {self.version}: {where}"
        closed = {file: names - OPEN for file, names in self.said.items() if names - OPEN}
        words = ", ".join(f"{'/'.join(sorted(names))} ({file})" for file, names in sorted(closed.items()))
        return f"{self.path} {self.version}: {words}, which is no open licence" if closed else None


def recognise(text: str) -> frozenset[str]:
    """The licences that a text is or names; none when it is none that is known."""
    plain = " ".join(re.sub(r"(?m)^[\s/*#>|;]+|\*+", " ", text.lower()).split())
    plain = _SECONDARY.sub(" ", plain)
    return frozenset(name for name, sign in _SIGNS.items() if re.search(sign, plain))


def linked(project: Path, packages: Iterable[str]) -> list[Module]:
    """The modules whose packages are linked, for this platform, each with the licences that apply to them.

    project: a folder with go.mod and go.sum. Raises Unknowable, with Go's own words, when Go cannot tell.
    """
    sums = checksums(project)
    found: dict[tuple[str, str], tuple[Path, list[dict[str, object]]]] = {}
    for package in _packages(project, packages):
        module = package.get("Module")
        if isinstance(module, dict) and not (module.get("Main") and not module.get("Replace")):
            real = module.get("Replace") or module
            key = (str(real["Path"]), str(real.get("Version") or ""))
            found.setdefault(key, (Path(real["Dir"]), []))[1].append(package)
    return [
        Module(path, version, sums.get((path, version), ""), {**dict(_said(folder, owned)), **_by_hand(path, version)})
        for (path, version), (folder, owned) in sorted(found.items())
    ]


def _by_hand(path: str, version: str) -> dict[str, frozenset[str]]:
    return {file: frozenset({name}) for (*of, file), name in _READ_BY_HAND.items() if of == [path, version]}


def says(path: str, version: str, file: str, text: str) -> frozenset[str]:
    """The licences that this file of a module names: as somebody has read it, else as its text is recognised."""
    return _by_hand(path, version).get(file) or recognise(text)


def checksums(project: Path) -> dict[tuple[str, str], str]:
    """(module, version) -> what go.sum has of its content."""
    lines = [line.split() for line in (project / "go.sum").read_text().splitlines()]
    return {(path, version): digest for path, version, digest in lines if not version.endswith("/go.mod")}


def _packages(project: Path, packages: Iterable[str]) -> Iterator[dict[str, object]]:
    """Every package that is linked, as `go list` describes it. With copies, because -mod=mod may write to them."""
    fields = "-json=ImportPath,Dir,Module,GoFiles,CgoFiles,CFiles,CXXFiles,HFiles,SFiles,Error"
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("go.mod", "go.sum"):
            shutil.copy(project / name, scratch)
        answer = subprocess.run(
            ["go", "list", "-mod=mod", f"-modfile={scratch}/go.mod", "-deps", fields, *packages],
            cwd=project,
            env={**children.environment(children.GO), "GOWORK": "off"},
            capture_output=True,
            text=True,
            check=False,
        )
    if answer.returncode:
        raise Unknowable(f"go list in {project} failed: {answer.stderr.strip().splitlines()[-1]}")
    decoder, position = json.JSONDecoder(), 0
    while position < len(answer.stdout.rstrip()):
        package, end = decoder.raw_decode(answer.stdout, position)
        position = end + 1
        yield package


def _said(module: Path, packages: Iterable[Mapping[str, object]]) -> Iterator[tuple[str, frozenset[str]]]:
    folders = {module}
    for package in packages:
        folder = Path(str(package["Dir"]))
        folders |= {above for above in (folder, *folder.parents) if above.is_relative_to(module)}
        for file in _sources(package):
            closed = _declared(file) - OPEN
            if closed:
                yield str(file.relative_to(module)), closed
    for file in (file for folder in sorted(folders) for file in licence_files(folder)):
        yield str(file.relative_to(module)), recognise(file.read_text(encoding="utf-8", errors="replace"))


def licence_files(folder: Path) -> Iterator[Path]:
    """Those in the folder itself, and in one of its own for licences."""
    for entry in sorted(folder.iterdir()):
        if entry.is_file() and is_licence(entry.name):
            yield entry
        elif entry.is_dir() and _FOLDER.match(entry.name):
            yield from (file for file in sorted(entry.rglob("*")) if file.is_file() and not _CODE.search(file.name))


def is_licence(name: str) -> bool:
    return bool(_FILE.match(name)) and not _CODE.search(name)


def _sources(package: Mapping[str, object]) -> Iterator[Path]:
    for kind in ("GoFiles", "CgoFiles", "CFiles", "CXXFiles", "HFiles", "SFiles"):
        names = package.get(kind)
        yield from (Path(str(package["Dir"])) / name for name in (names if isinstance(names, list) else []))


def _declared(source: Path) -> frozenset[str]:
    """The licences that a source file's own header names, of a choice the most open: SPDX names, those alike as one."""
    with source.open("rb") as file:
        found = _SPDX.search(file.read(_HEAD))
    choices = re.split(r"\bOR\b", found.group(1).decode()) if found else [""]
    kinds = [
        frozenset(_BY_SPDX.get(name, name) for name in re.findall(r"[\w.+-]+", choice)) - {"AND"} for choice in choices
    ]
    return min(kinds, key=lambda names: len(names - OPEN))


def fingerprint(project: Path) -> str:
    """Of go.mod, go.sum and what else decides what is linked."""
    digest = hashlib.sha256()
    for file in sorted(project.glob("*")):
        digest.update(f"{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def write_table(project: Path, modules: Iterable[Module], file: Path) -> None:
    lines = [f"# {project.name} {fingerprint(project)}: made by `make licences`"]
    for module in modules:
        said = [f"{name}={'+'.join(sorted(names)) or '?'}" for name, names in module.said.items()]
        lines.append(" ".join([module.path, module.version, module.sum, *said]))
    file.write_text("\n".join(lines) + "\n")


def read_table(file: Path) -> tuple[str, list[Module]]:
    """The fingerprint of what it was made from, and the modules."""
    head, *lines = file.read_text().splitlines()
    return head.split()[2].rstrip(":"), [_module(line) for line in lines]


def _module(line: str) -> Module:
    path, version, digest, *said = line.split(" ")
    files = dict(item.rsplit("=", 1) for item in said)
    return Module(path, version, digest, {file: frozenset(names.split("+")) - {"?"} for file, names in files.items()})


def main() -> int:
    from toolchain.tools import PROJECTS

    faults: list[str] = []
    for project in PROJECTS:
        modules = linked(TOOLCHAIN / project.name, project.packages.values())
        write_table(TOOLCHAIN / project.name, modules, TABLES / f"{project.name}.txt")
        faults += [f"{project.name}: {fault}" for module in modules if (fault := module.fault())]
        print(f"{project.name}: {len(modules)} modules")
    print("\n".join(faults), file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
