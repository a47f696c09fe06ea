"""Whether the stack's own programs may do their work by the tokens below nomad.tokens and consul.tokens."""

from __future__ import annotations

from collections.abc import Iterator

from obsctl import names
from obsctl.config.secrets import SecretRef
from obsctl.config.versions import IDENTITIES
from obsctl.doctor import calls
from obsctl.doctor.proof import by_version
from obsctl.doctor.site import Site
from obsctl.doctor.tokens import TASKS
from obsctl.model import Finding

_UNKNOWN = "not found"
"""In the words of Consul for a token that it does not know. Nomad only denies permission."""
_INSTEAD = {"nomad": "", "consul": "; or, from Nomad 1.7 on, set consul.workload_identity: true"}


def tokens(site: Site) -> Iterator[Finding]:
    """Each program's; or, where it has none, whether it may do its work without one."""
    config = site.config
    programs = {each.row.consul_program for each in config.enabled_components()} - {""}
    if not config.consul.workload_identity:
        for program in sorted(programs):
            yield from _tried(site, "consul", program, getattr(config.consul.tokens, program))
    if names.WARDEN in programs:
        yield from _warden(site, config.nomad.tokens.warden)


def _warden(site: Site, reference: SecretRef | None) -> Iterator[Finding]:
    """What it asks of Nomad: an old one takes no jobs from its identity."""
    version = site.nomad_version
    if reference or (version and version < IDENTITIES.since):
        yield from _tried(site, "nomad", names.WARDEN, reference)
    elif version is None and list(_tried(site, "nomad", names.WARDEN, None)):
        what = "whether the warden may start jobs is not proved: a Nomad before 1.7 takes none from its identity"
        hint = f"give the token of nomad.token the right to read Nomad's version, or set nomad.tokens.{names.WARDEN}"
        yield Finding.warning(TASKS, what, hint, settled_by=by_version("nomad"))


def _tried(site: Site, server: str, program: str, reference: SecretRef | None) -> Iterator[Finding]:
    key, title = f"{server}.tokens.{program}", server.capitalize()
    token = site.resolve(reference, key).reveal() if reference else None
    refused = list(calls.lacking(server, program, site, _calls(site, server, token)))
    command = f"obsctl policies {program} --server {server}"
    if refused and token is None:
        lacks = ", ".join(right.what for right, _ in refused)
        what = f"{program} has no token, and without one {title} does not let it {lacks}"
        hint = f"set {key} in obsctl.yaml to a token with the policy of `{command}`{_INSTEAD[server]}"
        yield Finding.error(key, what, hint)
    elif refused and _UNKNOWN in refused[0][1].message:
        yield Finding.error(key, f"{title} does not know this token", f"give it one with the policy of `{command}`")
    else:
        for right, _ in refused:
            hint = f"if {title} knows it, its policy needs {right.rule}; `{command}` prints all of it"
            yield Finding.error(key, f"the token may not {right.what}", hint)


def _calls(site: Site, server: str, token: str | None) -> calls.Calls:
    if server == "nomad":
        return calls.of_nomad(site, site.logins.nomad(token))
    return calls.of_consul(site, site.logins.consul(token))
