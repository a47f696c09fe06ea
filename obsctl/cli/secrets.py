"""`obsctl secrets`: the secrets that the stack keeps in Nomad Variables, and a value on request."""

from __future__ import annotations

from dataclasses import asdict

import click

from obsctl.cli.app import App
from obsctl.cli.options import Group


@click.group(cls=Group)
def secrets() -> None:
    """The secrets that the stack keeps in Nomad Variables.

    Example: obsctl secrets list
    """


@secrets.command("list")
@click.pass_obj
def list_(app: App) -> None:
    """Name the secrets, where each is kept and where it comes from; no values. Needs no cluster.

    Example: obsctl secrets list
    """
    from obsctl.stack.secrets import stored

    entries = stored(app.loaded.config)
    rows = [[secret.name, secret.variable, secret.item, secret.origin] for secret in entries]
    table = app.ui.table(["SECRET", "NOMAD VARIABLE", "ITEM", "FROM"], rows) if rows else "This stack has no secrets."
    app.ui.result("secrets", {"secrets": [asdict(secret) for secret in entries]}, table)


@secrets.command()
@click.argument("name")
@click.pass_obj
def show(app: App, name: str) -> None:
    """Print a secret's value, and nothing else. grafana-admin is the password that Grafana's user admin has at first.

    obsctl reads the Nomad Variable with nomad.token. The value is the one that was deployed: a password that was
    changed in Grafana is known only to Grafana.

    Example: obsctl secrets show grafana-admin
    """
    from obsctl.cli import wire
    from obsctl.stack.secrets import reveal, stored

    config = app.loaded.config
    known = {secret.name: secret for secret in stored(config)}
    if name not in known:
        raise click.UsageError(f"this stack has no secret {name}; there are {', '.join(known) or 'none'}")
    secret = known[name]
    value = reveal(secret, wire.clients(config).nomad).reveal()
    app.ui.result("secret", {**asdict(secret), "value": value}, value)
