"""`obsctl policies`: the smallest policies of Nomad and Consul for whoever works with the stack."""

from __future__ import annotations

import click

from obsctl import rights
from obsctl.cli.app import App


@click.command()
@click.argument("role", required=False)
@click.option("--server", type=click.Choice(["nomad", "consul"]), help="The policy of this server alone, to be piped.")
@click.pass_obj
def policies(app: App, role: str | None, server: str | None) -> None:
    """Print the smallest policies for a role; without one, what roles there are. Needs no cluster.

    People: deploy, plan, drill, read. Programs of the stack: warden, log-links, prometheus, demo, doctor-probe, and
    tasks, which stands for what Nomad itself reads and registers for them.

    Example: obsctl policies deploy --server nomad | nomad acl policy apply obs-deploy -
    """
    if role is None:
        table = app.ui.table(["ROLE", "WHAT FOR"], [[name, what] for name, what in rights.ROLES.items()])
        app.ui.result("policies", {"roles": rights.ROLES}, table)
        return
    if role not in rights.ROLES:
        raise click.UsageError(f"there is no role {role}; there are {', '.join(rights.ROLES)}")
    texts = _texts(app, role)
    shown = texts[server] if server else "\n".join(_titled(name, text) for name, text in texts.items())
    app.ui.result("policies", {"role": role, **texts}, shown.rstrip("\n"))


def _texts(app: App, role: str) -> dict[str, str]:
    """Server -> policy."""
    from obsctl.stack.storage import volumes

    config = app.loaded.config
    both = rights.policies(role, config.stack, config.nomad.namespace, volumes=bool(volumes(config)))
    return {"nomad": both.nomad, "consul": both.consul}


def _titled(server: str, text: str) -> str:
    return f"# {server.capitalize()}\n{text}" if text else f"# {server.capitalize()}: nothing\n"
