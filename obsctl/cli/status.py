"""The state of each component."""

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
    components = read_status(config, clients.nomad, clients.consul)
    rows = [
        [status.component, status.state, f"{status.running}/{status.wanted}", status.address or "-", status.note]
        for status in components
    ]
    table = app.ui.table(["COMPONENT", "STATE", "RUNNING", "ADDRESS", ""], rows)
    healthy = all(status.state == "healthy" for status in components)
    app.ui.result("status", {"healthy": healthy, "components": [asdict(status) for status in components]}, table)
    return 0 if healthy else 1
