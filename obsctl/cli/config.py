"""init, config show, config schema: the configuration file, what obsctl reads from it, and its schema."""

from __future__ import annotations

import json
from pathlib import Path

import click

from obsctl.cli.app import App
from obsctl.cli.options import Group


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path(), metavar="[DIR]")
@click.pass_obj
def init(app: App, folder: Path) -> None:
    """Write a commented obsctl.yaml that explains every key. An existing file is never overwritten.

    Example: obsctl init my-stack
    """
    from obsctl.config.example import write

    path = write(folder)
    go_there = "" if folder == Path() else f"cd {folder}; "
    lines = (
        f"{path} is written: look through it.",
        f"Next: {go_there}obsctl validate, then obsctl plan, then obsctl deploy",
        "No cluster at hand? Set driver: raw_exec, and obsctl dev up starts Nomad and Consul on this machine.",
    )
    app.ui.result("init", {"path": str(path)}, "\n".join(lines))


@click.group(cls=Group)
def config() -> None:
    """Show the configuration, or its JSON schema for editors.

    Example: obsctl config show
    """


@config.command()
@click.pass_obj
def show(app: App) -> None:
    """Print the configuration as obsctl understands it: file, overlay, environment and defaults in one.

    References to secrets stay references.

    Example: obsctl --env prod config show
    """
    from obsctl.config.written import as_document, as_yaml

    loaded = app.loaded
    origin = ", ".join(loaded.sources)
    document = {"sources": list(loaded.sources), "config": as_document(loaded.config)}
    app.ui.result("config", document, f"# from {origin}\n{as_yaml(loaded.config).rstrip()}")


@config.command()
@click.pass_obj
def schema(app: App) -> None:
    """Print the JSON schema of obsctl.yaml, with which editors complete and check it.

    Example: obsctl config schema > obsctl.schema.json
    """
    from obsctl.config.written import json_schema

    document = json_schema()
    app.ui.result("config-schema", {"json_schema": document}, json.dumps(document, indent=2))
