"""How the stack is, and where its programs are."""

from __future__ import annotations

from dataclasses import asdict

import click

from obsctl.cli.app import App


@click.command()
@click.pass_obj
def status(app: App) -> int:
    """Show each component's health and address. Exit 1 when one is not healthy.

    Example: obsctl status
    """
    from obsctl.cli import wire
    from obsctl.stack.status import status as read_status

    config = app.loaded.config
    clients = wire.clients(config)
    found = read_status(config, clients.nomad, clients.consul)
    rows = [
        [item.component, item.state, f"{item.running}/{item.wanted}", item.address or "-", item.note] for item in found
    ]
    table = app.ui.table(["COMPONENT", "STATE", "RUNNING", "ADDRESS", ""], rows)
    healthy = all(item.state == "healthy" for item in found)
    app.ui.result("status", {"healthy": healthy, "components": [asdict(item) for item in found]}, table)
    return 0 if healthy else 1
