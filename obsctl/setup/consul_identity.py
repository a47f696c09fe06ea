"""How Consul knows the stack's tasks by the identities that Nomad signs: a login, and which task has which role."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from obsctl import names, rights
from obsctl.clients.acl import ConsulAcl
from obsctl.clients.protocols import NomadApi
from obsctl.config.versions import IDENTITIES, parse, written
from obsctl.errors import Conflict, Forbidden, ObsctlError, ServerFailed, Unreachable
from obsctl.model import Json
from obsctl.setup.change import Change, change, mark

METHOD = "nomad-workloads"
"""Nomad's own default for its Consul login."""
AUDIENCE = "consul.io"
CLAIMS = ("nomad_namespace", "nomad_job_id", "nomad_task", "nomad_service")
METHOD_TEXT = "obsctl: identities of Nomad's workloads"
AGENT_BLOCKS = f'''consul {{
  # Not with Consul older than 1.15, which keeps the services of a node that crashed.
  service_identity {{
    aud = ["{AUDIENCE}"]
    ttl = "1h"
  }}

  task_identity {{
    aud = ["{AUDIENCE}"]
    ttl = "1h"
  }}
}}'''
"""What the configuration of each Nomad agent needs, servers and clients, for Nomad to sign such identities."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Where Consul's servers fetch the keys of Nomad's signatures; ca: the certificate of that server's authority."""

    url: str
    ca: str = ""

    @classmethod
    def of(cls, nomad: str, ca: str = "") -> Keys:
        """At this address of Nomad."""
        return cls(f"{nomad.rstrip('/')}{names.SIGNING_KEYS}", ca)


def refuse_old(nomad: NomadApi) -> None:
    """Raises ObsctlError where this Nomad signs no identities that Consul can check, as far as it tells its version."""
    with suppress(Forbidden, Unreachable):
        version = parse(nomad.agent_version())
        if version and version < IDENTITIES.since:
            hint = (
                "upgrade Nomad, or give the programs tokens by reference: consul.tokens.prometheus, .warden and .demo "
                "(docs/access.md, Nomad 1.6)"
            )
            raise ObsctlError(f"{IDENTITIES.words}, and this is {written(version)}; nothing was changed", hint=hint)


def changes(acl: ConsulAcl, stack: str, namespace: str, keys: Keys) -> list[Change]:
    """What is missing there, or is not as it should be."""
    return [
        *_method(acl, keys),
        *(each for role in selectors(stack, namespace) for each in _role(acl, role, stack, namespace)),
    ]


def _method(acl: ConsulAcl, keys: Keys) -> list[Change]:
    what, there = f"Consul's auth method {METHOD}", acl.auth_method(METHOD)
    if there is not None and there.get("Description") != METHOD_TEXT:
        return []  # one for all of Nomad, which is somebody else's: its binding rules are what counts
    target = {"Description": METHOD_TEXT, "JWKSURL": keys.url, "JWKSCACert": keys.ca}
    shown: Json | None = there and {**there, **(there.get("Config") or {})}
    return change(what, shown, target, partial(_put_method, acl, keys))


def _put_method(acl: ConsulAcl, keys: Keys) -> None:
    try:
        acl.put_jwt_method(METHOD, keys.url, [AUDIENCE], CLAIMS, keys.ca, description=METHOD_TEXT)
    except ServerFailed as error:
        if "JWKSURL" not in error.message:  # the key of which Consul says that it cannot be used
            raise
        since = written(IDENTITIES.since)
        what = f"Consul cannot fetch the keys of Nomad's signatures at {keys.url}: {error.message}"
        hint = f"Consul's servers must reach that page, which Nomad has from {since} on; --jwks-url names another"
        raise ServerFailed(what, hint=hint) from error


def _role(acl: ConsulAcl, role: str, stack: str, namespace: str) -> Iterator[Change]:
    name, rules, text = f"{stack}-{role}", rights.policies(role, stack, namespace).consul, mark(stack, role)
    policy = {"Description": text, "Rules": rules}
    yield from change(
        f"Consul's policy {name}", acl.policy(name), policy, partial(acl.put_policy, name, rules, description=text)
    )
    there = acl.role(name)
    shown: Json | None = there and {**there, "Policies": [each["Name"] for each in there.get("Policies") or []]}
    yield from change(
        f"Consul's role {name}", shown, {"Description": text, "Policies": [name]},
        partial(acl.put_role, name, (name,), description=text),
    )  # fmt: skip
    yield from _rule(acl, name, selectors(stack, namespace)[role], text)


def _rule(acl: ConsulAcl, role: str, selector: str, text: str) -> list[Change]:
    there = [rule for rule in acl.binding_rules(METHOD) if rule.get("Description") == text]
    if len(there) > 1:
        raise Conflict(f"Consul has several binding rules {text!r}", hint="delete all but one of them")
    target = {"Description": text, "BindType": "role", "BindName": role, "Selector": selector}
    rule = there[0] if there else None
    apply = partial(acl.put_binding_rule, METHOD, "role", role, selector, text)
    return change(f"Consul's binding rule for {role}", rule, target, apply)


def selectors(stack: str, namespace: str) -> dict[str, str]:
    """Role -> whose it is, as a binding rule selects it; terraform/acl has the same."""
    tasks = {
        **{name: _task(stack, name) for name in (names.WARDEN, names.PROMETHEUS)},
        "demo": f'value.nomad_job_id matches "^{stack}-({"|".join(names.DEMO)})$"',
        names.DOCTOR_PROBE: f"value.nomad_job_id == {json.dumps(names.job_id(stack, names.DOCTOR_PROBE))}",
        "tasks": f'value.nomad_job_id matches "^{stack}-({"|".join(names.COMPONENTS)})$"',
    }
    return {role: f"value.nomad_namespace == {json.dumps(namespace)} and {task}" for role, task in tasks.items()}


def _task(stack: str, name: str) -> str:
    """The task that is the program itself, and no other of its job."""
    job, task = json.dumps(names.job_id(stack, name)), json.dumps(name)
    return f"value.nomad_job_id == {job} and value.nomad_task == {task}"
