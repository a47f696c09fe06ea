"""`obsctl dev binaries`: get the programs of the servers, or say which there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.errors import ObsctlError

if TYPE_CHECKING:
    from obsctl.local.binaries import Binaries, ProgramFile


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--check", is_flag=True, help="Only say what there is; exit 1 if one is missing.")
@click.pass_obj
def binaries(app: App, names: tuple[str, ...], check: bool) -> int:
    """Get the servers that `dev up` and the tests run.

    Each is taken from the first of: the path in the configuration (servers.NAME), PATH, the cache, the
    official release, a build with Go.

    Example: obsctl dev binaries nomad consul
    """
    from obsctl.config.catalog import PROGRAMS
    from obsctl.local.binaries import Binaries

    unknown = sorted(set(names) - set(PROGRAMS))
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: there are {', '.join(PROGRAMS)}", param_hint="NAME")
    names = names or tuple(PROGRAMS)
    source = Binaries(configured=app.loaded.config.servers, emit=app.ui.event)
    programs = {name: source.search(name).program for name in names} if check else _gathered(names, source)
    _show(app, programs)
    missing = [name for name, program in programs.items() if program is None]
    if not missing:
        return 0
    error = ObsctlError(
        f"these programs are not there yet: {', '.join(missing)}", hint=f"obsctl dev binaries {' '.join(missing)}"
    )
    app.ui.error(error)  # not raised, because the one JSON document is already written
    return error.exit_code


def _gathered(names: Sequence[str], source: Binaries) -> dict[str, ProgramFile | None]:
    """All of them. Raises ObsctlError that names those that cannot be got, after it has got the others."""
    from obsctl.local.gather import Gathering

    programs: dict[str, ProgramFile | None] = {}
    errors: list[ObsctlError] = []
    with Gathering(names, source) as coming:
        for name in names:
            try:
                programs[name] = coming.program(name)
            except ObsctlError as error:
                errors.append(error)
    if errors:
        raise ObsctlError("\n  ".join(dict.fromkeys(error.message for error in errors)), hint=errors[0].hint)
    return programs


def _show(app: App, programs: dict[str, ProgramFile | None]) -> None:
    nothing = dict.fromkeys(("path", "version", "source"))
    servers = [asdict(program) if program else {"name": name, **nothing} for name, program in programs.items()]
    columns = ("name", "version", "source", "path")
    rows = [[str(server[column] or "-") for column in columns] for server in servers]
    app.ui.result("binaries", {"servers": servers}, app.ui.table([column.upper() for column in columns], rows))
