"""Where things are, and the way there."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.errors import ObsctlError

if TYPE_CHECKING:
    from obsctl.stack.addresses import Address


@click.command("open")
@click.argument("component", required=False)
@click.option("--print", "only_print", is_flag=True, help="Print the URL, and open no browser.")
@click.pass_obj
def open_(app: App, component: str | None, only_print: bool) -> None:
    """Show where everything is, or open the page of COMPONENT in a browser.

    Without a screen, as over ssh, it prints the URL.

    Example: obsctl open jaeger
    """
    from obsctl.cli import wire
    from obsctl.stack.addresses import addresses

    config = app.loaded.config
    found = addresses(config, wire.clients(config).consul)
    if component is None:
        rows = [[item.name, item.url or "-", item.state or "-", item.note or item.what] for item in found]
        table = app.ui.table(["COMPONENT", "URL", "HEALTH", ""], rows)
        app.ui.result("open", {"addresses": [asdict(item) for item in found]}, table)
        return
    chosen = _chosen(found, component)
    app.ui.result("open", {"addresses": [asdict(chosen)]}, chosen.url)
    if chosen.state == "failing":
        app.ui.aside(f"{component} is not healthy: {chosen.note}")
    if not only_print and sys.stdout.isatty() and not app.ui.as_json:
        _show(app, chosen.url)


def _chosen(found: list[Address], name: str) -> Address:
    named = [item for item in found if item.name == name]
    if not named:
        names = ", ".join(sorted({item.name for item in found}))
        raise click.UsageError(f"no component {name}; there are {names}")
    if not named[0].url:
        raise ObsctlError(f"{name} does not run: Consul knows no instance of this stack", hint=named[0].note)
    return named[0]


def _show(app: App, url: str) -> None:
    from obsctl.local import browser

    if not browser.show(url):
        app.ui.aside("there is no screen here to open it on")
