"""Only modules under open licences are linked into the servers that are built.

The tables of toolchain/licences say which licence each module has. They are held to go.mod and go.sum, to the programs
in the cache, and to the texts themselves where the module cache has them; a planted module must be found.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from obsctl.config.releases import Project
from obsctl.config.versions import written
from obsctl.local.build import GoBuild
from obsctl.local.cache import Cache
from obsctl.local.source import Platform
from toolchain import licences
from toolchain.licences import OPEN, TABLES, TOOLCHAIN, Module, Unknowable, recognise
from toolchain.tools import PROJECTS

BUSL = """
License text copyright (c) 2020 MariaDB Corporation Ab, All Rights Reserved.
"Business Source License" is a trademark of MariaDB Corporation Ab.

Parameters

Licensor:             Somebody
Licensed Work:        Something
Change License:       MPL 2.0

Business Source License 1.1

Terms
"""
AGPL = "                    GNU AFFERO GENERAL PUBLIC LICENSE\n                       Version 3, 19 November 2007\n"
SSPL = "                     Server Side Public License\n                     VERSION 1, OCTOBER 16, 2018\n"
MIT = (
    "The MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy\nof this software"
)


@pytest.fixture(params=PROJECTS, ids=lambda project: project.name)
def project(request: pytest.FixtureRequest) -> Project:
    found: Project = request.param
    return found


@cache
def table(name: str) -> tuple[str, list[Module]]:
    return licences.read_table(TABLES / f"{name}.txt")


def test_every_linked_module_has_an_open_licence(project: Project) -> None:
    _, modules = table(project.name)
    assert [fault for module in modules if (fault := module.fault())] == []
    assert modules


def test_the_table_is_of_the_go_mod_and_go_sum_that_are_here(project: Project) -> None:
    """Else it says nothing about what would be built now."""
    folder = TOOLCHAIN / project.name
    made_from, modules = table(project.name)
    assert made_from == licences.fingerprint(folder), "run `make licences`"
    sums = licences.checksums(folder)
    assert [module for module in modules if sums.get((module.path, module.version)) != module.sum] == []


def test_the_table_has_what_the_built_program_links(project: Project) -> None:
    """Go notes in each program what is in it. Where it was not built here, go.sum alone has to do."""
    known = {(module.path, module.version): module.sum for module in table(project.name)[1]}
    build = GoBuild(project, Platform.current(), TOOLCHAIN, os.environ)
    programs = [path for name in project.packages if (path := Cache.of(os.environ).program(build.entry, name))]
    inside = {item for path in programs for item in in_program(path)}
    assert {key: digest for key, digest in inside if known.get(key) != digest} == {}
    if programs:
        assert known.keys() == {key for key, _ in inside}


def test_the_readme_says_the_licence_of_each_program(project: Project) -> None:
    package = next(iter(project.packages.values()))
    main = [module for module in table(project.name)[1] if f"{package}/".startswith(f"{module.path}/")]
    name = "/".join(sorted(main[-1].licences)) if main else "Apache-2.0"  # the collector's main.go is ours
    cells = [project.name, ", ".join(project.packages), project.built_version, name, project.release_version]
    row = f"| {' | '.join(cells)} | {written(project.minimum)} |"
    assert row in (TOOLCHAIN / "README.md").read_text()


def in_program(path: Path) -> Iterable[tuple[tuple[str, str], str]]:
    """((module, version), checksum) of each linked module."""
    said = subprocess.run(["go", "version", "-m", path], capture_output=True, text=True, check=True).stdout
    found: list[list[str]] = []
    for words in (line.split() for line in said.splitlines() if line.strip()):
        if words[0] == "=>":
            found[-1] = words  # what it was replaced by
        elif words[0] in ("dep", "mod"):
            found.append(words)
    return [((words[1], words[2]), words[3]) for words in found if len(words) == 4]


def test_the_texts_say_what_the_table_says(project: Project) -> None:
    """As far as this machine's module cache has them; the checksum tells that the others are still the same."""
    wrong = []
    for module in table(project.name)[1]:
        folder = module_cache() / f"{escaped(module.path)}@{escaped(module.version)}"
        if not folder.is_dir():
            continue
        for name in {str(file.relative_to(folder)) for file in licences.licence_files(folder)} | module.said.keys():
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
            if licences.says(module.path, module.version, name, text) != module.said.get(name):
                wrong.append(f"{module.path}/{name}")
    assert wrong == [], "run `make licences`"


@cache
def module_cache() -> Path:
    found = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True).stdout
    return Path(found.strip())


def escaped(path: str) -> str:
    """As Go writes a name on disk, where capitals may not count."""
    return "".join(f"!{letter.lower()}" if letter.isupper() else letter for letter in path)


class TestPlanted:
    """A real Go program that links a module, which is under one licence or another."""

    def modules(self, folder: Path, files: dict[str, str], uses: str = "planted") -> list[Module]:
        (folder / "program").mkdir()
        replaced = "require example.org/planted v0.0.0\nreplace example.org/planted => ../planted\n"
        (folder / "program" / "go.mod").write_text(f"module example.org/program\n\ngo 1.21\n\n{replaced}")
        (folder / "program" / "go.sum").write_text("")
        main = f'package main\n\nimport _ "example.org/{uses}"\n\nfunc main() {{}}\n'
        (folder / "program" / "main.go").write_text(main)
        for name, text in {"go.mod": "module example.org/planted\n\ngo 1.21\n", **files}.items():
            (folder / "planted" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "planted" / name).write_text(text)
        found = licences.linked(folder / "program", ["."])
        file = folder / "program.txt"
        licences.write_table(folder / "program", found, file)
        assert licences.read_table(file) == (licences.fingerprint(folder / "program"), found)
        return found

    @pytest.mark.parametrize(("text", "name"), [(BUSL, "BUSL"), (AGPL, "AGPL"), (SSPL, "SSPL")])
    def test_one_under_a_closed_licence_is_found(self, tmp_path: Path, text: str, name: str) -> None:
        [module] = self.modules(tmp_path, {"LICENSE": text, "planted.go": "package planted\n"})
        assert module.fault() == f"../planted : {name} (LICENSE), which is no open licence"

    def test_one_whose_linked_package_alone_is(self, tmp_path: Path) -> None:
        files = {"LICENSE": MIT, "part/deep/deep.go": "package deep\n", "part/LICENSE.txt": BUSL, "other/LICENSE": AGPL}
        [module] = self.modules(tmp_path, files, "planted/part/deep")
        assert module.fault() == "../planted : BUSL (part/LICENSE.txt), which is no open licence"

    def test_one_with_a_folder_of_licences(self, tmp_path: Path) -> None:
        files = {"LICENSE": MIT, "LICENSES/one.txt": SSPL, "planted.go": "package planted\n"}
        [module] = self.modules(tmp_path, files)
        assert module.fault() == "../planted : SSPL (LICENSES/one.txt), which is no open licence"

    def test_one_in_which_one_file_says_so(self, tmp_path: Path) -> None:
        source = "// Copyright (c) Somebody\n// SPDX-License-Identifier: BUSL-1.1\n\npackage planted\n"
        [module] = self.modules(tmp_path, {"LICENSE": MIT, "planted.go": source})
        assert module.fault() == "../planted : BUSL (planted.go), which is no open licence"

    def test_one_whose_files_leave_a_choice(self, tmp_path: Path) -> None:
        source = "// SPDX-License-Identifier: Apache-2.0 OR LGPL-2.1-or-later\n\npackage planted\n"
        [module] = self.modules(tmp_path, {"LICENSE": MIT, "planted.go": source})
        assert module.fault() is None

    def test_one_with_an_open_licence_beside_the_closed_one(self, tmp_path: Path) -> None:
        files = {"LICENSE": MIT, "LICENSE-ENTERPRISE.md": BUSL, "planted.go": "package planted\n"}
        [module] = self.modules(tmp_path, files)
        assert module.fault() == "../planted : BUSL (LICENSE-ENTERPRISE.md), which is no open licence"

    @pytest.mark.parametrize(
        ("files", "why"),
        [({}, "it has no file of a licence"), ({"COPYING": "Mine."}, "what COPYING says is unknown")],
    )
    def test_one_of_which_nobody_knows(self, tmp_path: Path, files: dict[str, str], why: str) -> None:
        [module] = self.modules(tmp_path, {**files, "planted.go": "package planted\n"})
        assert module.fault() == f"../planted : {why}"

    def test_one_that_is_free(self, tmp_path: Path) -> None:
        [module] = self.modules(tmp_path, {"LICENSE": MIT, "planted.go": "package planted\n"})
        assert (module.licences, module.fault()) == (frozenset({"MIT"}), None)

    def test_what_go_cannot_tell_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "go.mod").write_text("module example.org/program\n\ngo 1.21\n")
        (tmp_path / "go.sum").write_text("")
        with pytest.raises(Unknowable, match=r"go list in .* failed: "):
            licences.linked(tmp_path, ["./nowhere"])

    def test_a_closed_module_in_a_real_table_is_named(self) -> None:
        planted = replace(table("nomad")[1][0], said={"LICENSE": recognise(BUSL)})
        assert "BUSL (LICENSE)" in (planted.fault() or "")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (MIT, {"MIT"}),
        ("Mozilla Public License, version 2.0\n\n1.12. “Secondary License” means either the GNU General Public License,"
         " Version 2.0, the GNU Lesser General Public License, Version 2.1, the GNU Affero General Public License,"
         " Version 3.0, or any later versions of those licenses.\n", {"MPL-2.0"}),
        ("// Licensed under the Apache License,\n// Version 2.0", {"Apache-2.0"}),
        ("GNU LESSER GENERAL PUBLIC LICENSE", {"LGPL"}),
        ("Licensed under the Apache License, Version 2.0, with the Commons Clause", {"Apache-2.0", "Commons Clause"}),
        ("Elastic License 2.0", {"Elastic"}),
        ("All rights reserved.", set()),
    ],
)  # fmt: skip
def test_a_text_is_recognised(text: str, names: set[str]) -> None:
    assert recognise(text) == names


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("LICENSE", True), ("LICENCE.md", True), ("License.txt", True), ("COPYING", True), ("COPYING.LESSER", True),
        ("LICENSE-MIT", True), ("MIT-LICENSE", True), ("LICENSE_BUSL.txt", True), ("UNLICENSE", True),
        ("licenses.go", False), ("license.proto", False), ("README.md", False), ("licensed.txt", False),
    ],
)  # fmt: skip
def test_the_names_of_files_that_hold_licences(name: str, is_one: bool) -> None:
    assert licences.is_licence(name) is is_one


def test_no_name_is_open_and_closed() -> None:
    assert not OPEN & {"BUSL", "AGPL", "SSPL", "GPL", "LGPL"}
