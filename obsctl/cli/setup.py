"""`obsctl setup`: what a cluster with ACLs needs for the stack's own programs, made once by a management token."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from obsctl import files, names
from obsctl.cli.app import App
from obsctl.cli.options import Command, Group
from obsctl.errors import ObsctlError

if TYPE_CHECKING:
    from obsctl.config.secrets import SecretRef
    from obsctl.setup.change import Change


def _managed(command: Command) -> Command:
    command = click.option("--token", metavar="REF", help="A management token, as env:NAME or file:/path; default: the "
                           "token of obsctl.yaml.")(command)  # fmt: skip
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


@click.group(cls=Group)
def setup() -> None:
    """Make what the stack's own programs need in a cluster with ACLs. Shows it first, and changes nothing of others.

    Example: obsctl setup nomad-policies --token env:NOMAD_MANAGEMENT_TOKEN
    """


@setup.command("nomad-policies")
@_managed
@click.pass_obj
def nomad_policies(app: App, token: str | None, yes: bool) -> None:
    """Nomad's policies for the warden and log-links, bound to their tasks: they need no token.

    Example: obsctl setup nomad-policies --token env:NOMAD_MANAGEMENT_TOKEN
    """
    from obsctl.clients import connect
    from obsctl.setup import nomad_policies as policies

    config = app.loaded.config
    secret, name = _secret(token, config.nomad.token, "nomad.token")
    acl = connect.nomad_acl(config.nomad, token=secret, origin=name)
    _make(app, policies.changes(acl, config.stack, config.nomad.namespace), yes)


@setup.command("consul-identity")
@_managed
@click.option("--jwks-url", metavar="URL", help="Where Consul's servers fetch the keys of Nomad's signatures; default: "
              f"{names.SIGNING_KEYS} at nomad.address.")  # fmt: skip
@click.pass_obj
def consul_identity(app: App, token: str | None, yes: bool, jwks_url: str | None) -> None:
    """Consul's login for Nomad's tasks (from Nomad 1.7 on): auth method, policies, roles and binding rules.

    Nomad's agents need blocks in their configuration, too; these are printed.

    Example: obsctl setup consul-identity --token env:CONSUL_MANAGEMENT_TOKEN
    """
    from obsctl.cli.wire import secret_of
    from obsctl.clients import connect
    from obsctl.setup import consul_identity as identity

    config = app.loaded.config
    nomad_token = None
    with suppress(ObsctlError):  # who sets this up may have no token of Nomad
        nomad_token = secret_of(config.nomad.token, "nomad.token")
    identity.refuse_old(connect.nomad(config.nomad, token=nomad_token))
    secret, name = _secret(token, config.consul.token, "consul.token")
    acl = connect.consul_acl(config.consul, token=secret, origin=name)
    ca = files.read(Path(config.nomad.tls.ca_file)).decode() if config.nomad.tls.ca_file else ""
    keys = identity.Keys(jwks_url, ca) if jwks_url else identity.Keys.of(config.nomad.address, ca)
    app.ui.say(f"Each Nomad agent needs this in its configuration:\n\n{identity.AGENT_BLOCKS}\n")
    _make(app, identity.changes(acl, config.stack, config.nomad.namespace, keys), yes)


def _make(app: App, changes: list[Change], yes: bool) -> None:
    from obsctl.setup.change import make

    for change in changes:
        app.ui.say("\n    ".join([f"{change.action} {change.what}", *change.fields]))
    if changes and not yes:
        unasked = "this would change the cluster's ACLs, and nobody can be asked"
        app.confirm("Make this?", unasked=unasked, declined="nothing was changed")
    make(changes)
    text = f"{len(changes)} made or changed." if changes else "All of it is there."
    app.ui.result(
        "setup",
        {"changes": [{"what": each.what, "action": each.action, "fields": each.fields} for each in changes]},
        text,
    )


def _secret(option: str | None, configured: SecretRef | None, key: str) -> tuple[str | None, str]:
    """A token, and what it is called in errors."""
    from obsctl.cli.wire import secret_of
    from obsctl.config.secrets import SecretRef

    if not option:
        return secret_of(configured, key), key
    try:
        return secret_of(SecretRef.parse(option), "--token"), "the token of --token"
    except ValueError as error:
        raise click.UsageError(f"--token: {error}") from None
