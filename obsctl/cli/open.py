"""The pages of the stack's programs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from obsctl import children
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
    clients = wire.clients(config)
    pages = addresses(config, clients.nomad, clients.consul)
    if component is None:
        rows = [[page.name, page.url or "-", page.state or "-", page.note or page.what] for page in pages]
        table = app.ui.table(["COMPONENT", "URL", "HEALTH", ""], rows)
        app.ui.result("open", {"addresses": [asdict(page) for page in pages]}, table)
        return
    page = _page(pages, component)
    app.ui.result("open", {"addresses": [asdict(page)]}, page.url)
    if page.state == "failing":
        app.ui.aside(f"{component} is not healthy: {page.note}")
    if not only_print and sys.stdout.isatty() and not app.ui.as_json and not show(page.url):
        app.ui.aside("there is no screen here to open it on")


def show(url: str, *, environ: Mapping[str, str] = os.environ) -> bool:
    """Open the page in the user's browser; False where there is no screen, as over ssh. A browser of the terminal is
    never started, because it would take the terminal over."""
    has_screen = sys.platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
    return has_screen and _browse(url, environ)


def _browse(url: str, environ: Mapping[str, str]) -> bool:
    """In a process of its own, because a browser started by this one would get all of its environment."""
    code = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"
    without_ours = children.environment(children.BROWSER, environ)
    return subprocess.run([sys.executable, "-I", "-c", code, url], env=without_ours, check=False).returncode == 0


def _page(pages: list[Address], name: str) -> Address:
    page = next((page for page in pages if page.name == name), None)
    if page is None:
        raise click.UsageError(f"no component {name}; there are {', '.join(sorted({page.name for page in pages}))}")
    if not page.url:
        raise ObsctlError(f"{name} does not run: Consul knows no instance of this stack", hint=page.note)
    return page
