"""obsctl dev binaries: get the servers' programs, or say what there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from obsctl.cli.app import App
from obsctl.errors import ObsctlError

if TYPE_CHECKING:
    from obsctl.local.binaries import Found


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
    from obsctl.local.binaries import PROGRAMS, search

    unknown = sorted(set(names) - set(PROGRAMS))
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: there are {', '.join(PROGRAMS)}", param_hint="NAME")
    wanted = names or tuple(PROGRAMS)
    configured = app.loaded.config.servers
    found = {name: search(name, configured).found for name in wanted} if check else _gathered(app, wanted)
    _show(app, found)
    missing = [name for name, program in found.items() if program is None]
    if not missing:
        return 0
    fault = ObsctlError(f"Not there yet: {', '.join(missing)}", hint=f"obsctl dev binaries {' '.join(missing)}")
    app.ui.error(fault)  # not raised: the one JSON document is written
    return fault.exit_code


def _gathered(app: App, names: Sequence[str]) -> dict[str, Found | None]:
    """All that can be had is got; raises ObsctlError with what is left."""
    from obsctl.local.gather import gathering

    found: dict[str, Found | None] = {}
    failures: list[ObsctlError] = []
    with gathering(names, app.loaded.config.servers, emit=app.ui.event) as coming:
        for name in names:
            try:
                found[name] = coming.found(name)
            except ObsctlError as failure:
                failures.append(failure)
    if failures:
        messages = dict.fromkeys(failure.message for failure in failures)
        raise ObsctlError("\n  ".join(messages), hint=failures[0].hint)
    return found


def _show(app: App, found: dict[str, Found | None]) -> None:
    nothing: dict[str, Any] = {"path": None, "version": None, "source": None}
    servers = [asdict(program) if program else {"name": name, **nothing} for name, program in found.items()]
    columns = ("name", "version", "source", "path")
    rows = [[str(server[column] or "-") for column in columns] for server in servers]
    app.ui.result("binaries", {"servers": servers}, app.ui.table([column.upper() for column in columns], rows))
