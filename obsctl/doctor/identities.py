"""Whether the identities of the stack's tasks get what they need: by Nomad's policies, and by Consul's login."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from obsctl import names
from obsctl.doctor.proof import BY_ACLS, BY_PROBE, BY_SETUP
from obsctl.doctor.site import Site
from obsctl.errors import Conflict, Forbidden, Rejected, Unreachable
from obsctl.model import Finding, Json, Severity
from obsctl.setup import consul_identity, nomad_policies
from obsctl.setup.change import BY_OBSCTL, Change

_OFF = "ACL support disabled"
_POLICIES, _LOGIN = "nomad-policies", "consul-identity"
"""The commands of `obsctl setup`."""


def nomad(site: Site) -> Iterator[Finding]:
    """The policies that are bound to the tasks of the stack which ask Nomad."""
    config = site.config
    if not any(each.row.asks_nomad for each in config.enabled_components()):
        return
    try:
        changes = nomad_policies.changes(site.logins.nomad_acl, config.stack, config.nomad.namespace)
    except Rejected as error:
        if _OFF not in error.message:
            raise
    except Conflict as error:
        yield Finding.warning("nomad identities", error.message, error.hint, settled_by=BY_SETUP)
    except Forbidden:
        yield _unseen("nomad identities", "Nomad's policies for the warden and log-links", _POLICIES)
    else:
        yield from _lacking("nomad identities", changes, _POLICIES)


def consul(site: Site) -> Iterator[Finding]:
    """The login, the keys by which it knows the tasks, and the roles that it gives them."""
    if not site.config.consul.workload_identity:
        return
    try:
        method = site.logins.consul_acl.auth_method(consul_identity.METHOD)
    except Forbidden as error:
        if _OFF not in error.message:
            yield _unseen("consul identities", "Consul's login for the stack's tasks", _LOGIN)
            return
        hint = "switch Consul's ACLs on, or leave consul.workload_identity out"
        yield Finding.error("consul identities", "Consul has no ACLs, so no task can log in", hint)
        return
    if method is None:
        what = f"Consul has no auth method {consul_identity.METHOD}, so no task can log in"
        yield Finding.error("consul identities", what, _setup(_LOGIN))
        return
    yield from _keys(site, method)
    yield from _roles(site, method)


def _keys(site: Site, method: Json) -> Iterator[Finding]:
    """Whether Consul checks identities by the keys of this Nomad."""
    url = str(method["Config"].get("JWKSURL") or "")
    if not url.endswith(names.SIGNING_KEYS):
        return
    try:
        theirs = site.agent(url.removesuffix(names.SIGNING_KEYS)).signing_keys()
    except Unreachable as error:
        what = f"the keys at {url}, by which Consul checks identities, cannot be seen from here ({error.message})"
        hint = "obsctl doctor --probe shows it: a task logs in"
        yield Finding.unseen("consul identities", what, hint, settled_by=BY_PROBE)
        return
    if theirs != site.nomad.signing_keys():
        what = f"Consul checks identities by the keys at {url}, which are not this Nomad's"
        yield Finding.error("consul identities", what, "obsctl setup consul-identity --jwks-url URL sets others")


def _roles(site: Site, method: Json) -> Iterator[Finding]:
    """What is missing may come from a binding rule of others: then only a task that logs in shows it."""
    config, acl, own = site.config, site.logins.consul_acl, method["Config"]
    keys = consul_identity.Keys(own.get("JWKSURL") or "", own.get("JWKSCACert") or "")
    others = any(_is_of_others(rule) for rule in acl.binding_rules(consul_identity.METHOD))
    try:
        changes = consul_identity.changes(acl, config.stack, config.nomad.namespace, keys)
    except Conflict as error:
        yield Finding.warning("consul identities", error.message, error.hint, settled_by=BY_SETUP)
        return
    for finding in _lacking("consul identities", changes, _LOGIN):
        yield replace(finding, severity=Severity.WARNING, settled_by=BY_SETUP) if others else finding


def _is_of_others(rule: Json) -> bool:
    """Whether it may give tasks more than the registration of their service, and obsctl did not make it."""
    return rule.get("BindType") != "service" and not str(rule.get("Description") or "").startswith(BY_OBSCTL)


def _lacking(where: str, changes: list[Change], command: str) -> Iterator[Finding]:
    for change in changes:
        words = "is missing" if change.action == "create" else f"is not as `obsctl setup {command}` makes it"
        yield Finding.error(where, f"{change.what} {words}", _setup(command))


def _setup(command: str) -> str:
    return f"`obsctl setup {command} --token REF` makes it, by a management token"


def _unseen(where: str, what: str, command: str) -> Finding:
    hint = (
        "run obsctl doctor once with a token that may read ACLs; or "
        f"`obsctl setup {command} --token REF`, which tells what is missing, and asks before it acts"
    )
    return Finding.unseen(where, f"{what} cannot be seen with this token", hint, settled_by=BY_ACLS)
