"""Whether the tokens may do what a deploy does. Each right is tried by a call that needs it and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from obsctl import names
from obsctl.config.versions import parse, written
from obsctl.doctor.site import Site
from obsctl.errors import Conflict, Forbidden, Rejected, ServerFailed
from obsctl.model import Finding, Severity

NEVER = 2**62
"""A check-and-set with this index always fails, but only after the rights were checked."""
NOBODY = "00000000-0000-0000-0000-000000000000"
OWN_TOKEN_ONLY = (1, 10)
"""From this Nomad on, templates do not use the Consul token of the Nomad client by default."""
Tried = tuple[str, Callable[[], object], str]


def rights(server: str, site: Site) -> Iterator[Finding]:
    for what, call, rule in _nomad_rights(site) if server == "nomad" else _consul_rights(site):
        try:
            call()
        except Forbidden:
            yield Finding(Severity.ERROR, server, f"the token may not {what}", f"its policy needs {rule}")
        except (Conflict, ServerFailed):
            continue  # it was allowed and could not be done, as intended


def _nomad_rights(site: Site) -> Iterator[Tried]:
    nomad, namespace = site.nomad, f'namespace "{site.config.nomad.namespace}"'
    yield "list jobs", nomad.jobs, f'{namespace} {{ policy = "read" }}'
    yield "list nodes", nomad.nodes, 'node { policy = "read" }'
    yield "submit jobs", partial(_plan_one, site), f'{namespace} {{ capabilities = ["submit-job"] }}'
    variables = {item.path for item in site.rendered.secrets} | {names.drill_variable(site.config.stack)}
    for path in sorted(variables):
        rule = f'{namespace} {{ variables {{ path "{path}" {{ capabilities = ["read", "write"] }} }} }}'
        yield f"read {path}", partial(nomad.variable, path), rule
        yield f"write {path}", partial(nomad.put_variable, path, {"x": "x"}, cas=NEVER), rule
    for volume in site.rendered.volumes[:1]:
        rule = f'{namespace} {{ capabilities = ["host-volume-create", "host-volume-read"] }}'
        yield "create volumes", partial(nomad.create_volume, volume.request(NOBODY)), rule


def _plan_one(site: Site) -> None:
    """The first job, without its secrets: they need other rights."""
    for job in site.rendered.jobs[:1]:
        with suppress(Rejected):  # the check of the jobs says why
            site.nomad.plan_job(site.nomad.parse_job(job.hcl))


def _consul_rights(site: Site) -> Iterator[Tried]:
    consul, prefix = site.consul, f"{names.kv_prefix(site.config.stack)}/"
    keys = f'key_prefix "{prefix}" {{ policy = "write" }}'
    catalog = 'service_prefix "" { policy = "read" } and node_prefix "" { policy = "read" }'
    yield f"read {prefix}", partial(consul.entries, prefix), keys
    yield f"write {prefix}", partial(consul.put, f"{prefix}doctor", b"", cas=NEVER), keys
    yield "list services", consul.services, catalog
    yield "create the session of a lock", partial(_session, site), 'session_prefix "" { policy = "write" }'


def of_tasks(site: Site) -> Iterator[Finding]:
    """Nomad's templates read Consul for the tasks. Which token they use depends on the version of Nomad."""
    consul = site.config.consul
    if not consul.token or consul.workload_identity:
        return
    try:
        version = parse(site.nomad.agent_version())
    except Forbidden:
        return  # the check of the version says so
    if version >= OWN_TOKEN_ONLY:
        what = (
            f"Nomad {written(version)} reads Consul for tasks without a token, and consul.token says that it needs one"
        )
        hint = (
            "set consul.workload_identity: true, or, from Nomad 2.0.4 on, "
            "template { use_client_consul_token = true } in the configuration of the Nomad clients"
        )
        yield Finding(Severity.WARNING, "tasks", what, hint)


def _session(site: Site) -> None:
    """Only creating one shows whether that is allowed. It is ended at once."""
    site.consul.destroy_session(site.consul.create_session("obsctl doctor", ttl=10))
