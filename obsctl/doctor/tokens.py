"""Whether the operator's tokens may do what a deploy does."""

from __future__ import annotations

from collections.abc import Iterator

from obsctl import names
from obsctl.config.versions import written
from obsctl.doctor import calls
from obsctl.doctor.proof import BY_PROBE
from obsctl.doctor.site import Site
from obsctl.errors import Forbidden
from obsctl.model import Finding, Severity

OWN_TOKEN_ONLY = (1, 10)
"""From this Nomad on, templates do not use the Consul token of the Nomad client by default."""
TASKS = "tasks"
"""Where findings are about what tasks may do."""
_TRIED = "obsctl doctor --probe lets each node with raw_exec try it"
SPARE = ("read logs", "read the version of Consul, and its metrics")
"""Without these a deploy succeeds, and says less."""


def rights(server: str, site: Site) -> Iterator[Finding]:
    """Every right of a deploy that a call can show."""
    own = calls.of_nomad(site, site.nomad) if server == "nomad" else calls.of_consul(site, site.consul)
    for right, _ in calls.lacking(server, "deploy", site, own):
        level = Severity.WARNING if right.what in SPARE else Severity.ERROR
        hint = f"its policy needs {right.rule}; `obsctl policies deploy` prints all of it"
        yield Finding(level, server, f"the token may not {right.what}", hint)


def of_tasks(site: Site) -> Iterator[Finding]:
    """Whether Nomad's templates may read Consul, as far as that can be seen from here. By which token they do depends
    on the version of Nomad."""
    if site.config.consul.workload_identity:
        what = "whether templates may read Consul by the tasks' identities cannot be seen from here"
        yield Finding.unseen(TASKS, what, _TRIED, settled_by=BY_PROBE)
        return
    if _may_anybody_read(site):
        return
    version = site.nomad_version
    if version is None or version < OWN_TOKEN_ONLY:
        whose = "by which token depends on Nomad's version, which cannot be read"
        if version:
            whose = (
                f"Nomad {written(version)} reads with the token of each client, whose rights cannot be seen from here"
            )
        what = f"whether templates may read Consul is not proved: {whose}"
        yield Finding.warning(TASKS, what, _TRIED, settled_by=BY_PROBE)
        return
    what = f"Nomad {written(version)} reads Consul for tasks without a token, and Consul wants one"
    hint = (
        "set consul.workload_identity: true; or, from Nomad 2.0.4 on, template { use_client_consul_token = true } in "
        "the configuration of the Nomad clients, which only obsctl doctor --probe can see"
    )
    yield Finding.error(TASKS, what, hint)


def _may_anybody_read(site: Site) -> bool:
    try:
        site.logins.consul(None).entries(f"{names.kv_prefix(site.config.stack)}/")
    except Forbidden:
        return False
    return True
