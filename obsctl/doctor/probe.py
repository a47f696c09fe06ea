"""What only the nodes can say: a job that ends by itself looks at each of them, for `obsctl doctor --probe`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from shlex import quote
from urllib.parse import urlsplit

from obsctl import names
from obsctl.clients.jobs import may_run, of_version
from obsctl.doctor import tokens
from obsctl.doctor.here import commands
from obsctl.doctor.site import Site
from obsctl.errors import NotFound, ObsctlError
from obsctl.model import Finding, Json, is_ip_address
from obsctl.stack.causes import UNREADABLE
from obsctl.stack.facts import needs
from obsctl.stack.observe import marked
from obsctl.stack.why import Watch
from obsctl.wait import wait_until

PATIENCE = 60.0
_TASK, _DRIVER = "look", "raw_exec"
_LARGEST = 65_536
_SECOND = 1_000_000_000
_END = "end"
_SAID = "consul "
_ASK = r"""answer=$(timeout 5 bash -c 'exec 3<>"$0" || { echo nothing; exit; }
printf "GET /v1/status/leader HTTP/1.0\r\n\r\n" >&3; head -c 300 <&3 | tr -d "\0"' %s 2>/dev/null)
command -v bash >/dev/null && case $answer in
""|nothing) echo consul nothing;; *HTTPS*) echo consul https;; HTTP/*) echo consul http;; *) echo consul other;; esac"""
"""A server with TLS answers plain HTTP with a word about HTTPS: so it shows itself without a certificate."""
_OR_IDENTITY = "; from Nomad 1.7 on tasks can have tokens of their own: consul.workload_identity"


_READS = """{{ key "%s" }}
{{ range service "consul|any" }}{{ else }}{{ key "%s" }}{{ end }}"""
"""It waits for the first key where it may not read that. Consul itself is a service: where the list has not even that,
it waits for the second key, which is never there."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a node says. missing: programs that its PATH lacks. unknown: hosts that it cannot resolve. consul: how it is
    answered where the programs ask Consul: http, https, nothing, other, or untried."""

    node: str
    missing: frozenset[str]
    unknown: frozenset[str]
    consul: str


def look(site: Site) -> Iterator[Finding]:
    """Each node on which jobs of the stack may run, and which takes jobs of raw_exec: can a template there read Consul,
    are the programs of these jobs there, and does it know the hosts of obsctl.yaml?

    Registers a job that ends by itself, and stops it. Raises ObsctlError when the nodes do not say it in time.
    """
    programs = _programs(site)
    nodes = [node for node in site.nodes if node["ID"] in programs]
    able = [node for node in nodes if (node.get("Drivers") or {}).get(_DRIVER, {}).get("Healthy")]
    yield from _passed_over(site, [node["Name"] for node in nodes if node not in able])
    if not able:
        yield from tokens.of_tasks(site)
        return
    hosts, address = frozenset(_hosts(site)), site.config.consul.from_nodes
    job = _job(site, script_for(sorted(set().union(*programs.values())), sorted(hosts), address), able)
    with _running(site, job) as (registered, allocations):
        refusals = [(each, _refusal(site, registered, each)) for each in allocations]
        yield from (finding for _, finding in refusals if finding)
        ran = [each for each, finding in refusals if not finding]
        sights = [sight_of(site, each, programs[each["NodeID"]], hosts) for each in ran]
    yield from _lacks(sights)
    for sight in sights:
        yield from consul_faults(sight, address)


def _programs(site: Site) -> dict[str, frozenset[str]]:
    """Id of each node on which jobs of the stack may run -> the programs that they name there with raw_exec."""
    programs: dict[str, frozenset[str]] = {}
    for job in site.jobs:
        for node in site.homes(job):
            programs[node["ID"]] = programs.get(node["ID"], frozenset()) | commands(job)
    return programs


def _passed_over(site: Site, nodes: list[str]) -> Iterator[Finding]:
    if nodes:
        named = ", ".join(sorted(nodes))
        what = (
            f"not looked at: {named}. Not tried there: what templates may read in Consul, whether "
            f"Consul answers at {site.config.consul.from_nodes}, and whether the hosts of obsctl.yaml are known"
        )
        hint = "the probe's job needs raw_exec: enable it on these nodes while you probe, or let the deploy show it"
        yield Finding.unseen("probe", what, hint, settled_by=f"raw_exec on {named}")


def _lacks(sights: list[Sight]) -> Iterator[Finding]:
    for sight in sights:
        if sight.missing:
            hint = "install them there, or give their paths in obsctl.yaml (components.NAME.command)"
            yield Finding.error(
                sight.node, f"the PATH of its Nomad client lacks {', '.join(sorted(sight.missing))}", hint
            )
        if sight.unknown:
            hint = "correct the address in obsctl.yaml, or the DNS of the node"
            yield Finding.error(sight.node, f"it cannot resolve {', '.join(sorted(sight.unknown))}", hint)


def consul_faults(sight: Sight, address: str) -> Iterator[Finding]:
    """Whether the stack's programs there find Consul at this address."""
    hint = "correct consul.node_address in obsctl.yaml, or let Consul's agent on that node listen there"
    if sight.consul == "untried":
        what = f"it has no bash to try whether Consul answers at {address}"
        hint = "what programs say of Consul is in their logs"
        yield Finding.unseen(sight.node, what, hint, settled_by="bash on that node")
    elif sight.consul == "nothing":
        yield Finding.error(sight.node, f"nothing answers there at {address}, where programs ask Consul", hint)
    elif sight.consul != urlsplit(address).scheme:
        answer = {"https": "wants TLS", "http": "speaks no TLS"}.get(sight.consul, "is no Consul")
        yield Finding.error(sight.node, f"what answers there at {address}, where programs ask Consul, {answer}", hint)


def _hosts(site: Site) -> Iterator[str]:
    """The names by which programs of the stack find something outside it. References are secret, and not looked at."""
    config = site.config
    addresses = (config.nomad.address, config.consul.from_nodes, config.logs.endpoint)
    hosts = [urlsplit(address).hostname for address in addresses if address]
    mails = [receiver.email for receiver in config.alerting.receivers if receiver.email]
    hosts += [mail.smarthost.rsplit(":", 1)[0].strip("[]") for mail in mails]
    yield from (host for host in hosts if host and not is_ip_address(host))


def script_for(programs: list[str], hosts: list[str], consul: str) -> str:
    """It says what is there, so that what a node does not say is missing."""
    lines = [f"command -v {quote(each)} >/dev/null && echo program {quote(each)}" for each in programs]
    lines += [f"getent hosts {quote(each)} >/dev/null && echo host {quote(each)}" for each in hosts]
    return "\n".join([*lines, _ASK % _place(consul), f"echo {_END}"])


def _place(address: str) -> str:
    """As bash names it."""
    url = urlsplit(address)
    return quote(f"/dev/tcp/{url.hostname}/{url.port or (443 if url.scheme == 'https' else 80)}")


def sight_of(site: Site, allocation: Json, programs: frozenset[str], hosts: frozenset[str]) -> Sight:
    lines = site.nomad.task_logs(allocation["ID"], _TASK, stream="stdout", tail_bytes=_LARGEST).splitlines()
    if _END not in lines:
        name = allocation["NodeName"]
        raise ObsctlError(
            f"{name} does not say what it has", hint=f"nomad alloc status {allocation['ID'][:8]} says why"
        )
    return Sight(
        allocation["NodeName"],
        frozenset(each for each in programs if f"program {each}" not in lines),
        frozenset(each for each in hosts if f"host {each}" not in lines),
        next((line.removeprefix(_SAID) for line in lines if line.startswith(_SAID)), "untried"),
    )


@contextmanager
def _running(site: Site, job: Json) -> Iterator[tuple[Json, list[Json]]]:
    """The job and its allocations, one a node, when all have ended or do not come up. It is stopped in any case."""
    _refuse_foreign(site, job["ID"])
    before, key = site.clock.monotonic(), _key(site.config.stack)
    site.consul.put(key, b"read by the nodes")
    try:
        site.nomad.register_job(job)
        yield wait_until(
            lambda: _ended(site, job["ID"], waited=site.clock.monotonic() - before),
            timeout=PATIENCE,
            failure="not every node has looked at itself",
            hint=f"nomad job status {job['ID']} shows which one has not",
            clock=site.clock,
        )
    finally:
        try:
            with suppress(NotFound):
                site.nomad.stop_job(job["ID"])
        finally:
            site.consul.delete(key)


def _refuse_foreign(site: Site, job_id: str) -> None:
    for stub in site.nomad.jobs():
        if stub["ID"] == job_id and (stub.get("Meta") or {}).get(names.STACK_MARK) != site.config.stack:
            raise ObsctlError(f"there is a job {job_id} that obsctl did not make", hint="rename or purge that job")


def _ended(site: Site, job_id: str, waited: float) -> tuple[Json, list[Json]] | None:
    """The newest version and its allocations, one for each node that can take it."""
    job = site.nomad.job(job_id)
    current = of_version(site.nomad.job_allocations(job_id), job)
    ended = [each for each in current if not may_run(each) or (waited > UNREADABLE and needs(each, _TASK))]
    return (job, ended) if len(ended) == len(site.homes(job)) else None


def _refusal(site: Site, job: Json, allocation: Json) -> Finding | None:
    """Why its task did not start, if it did not."""
    node, stack = allocation["NodeName"], site.config.stack
    awaited = {need.name for need in needs(allocation, _TASK)}
    hint = f"the Consul token of its Nomad client needs the policy of `obsctl policies tasks`{_OR_IDENTITY}"
    if site.config.consul.workload_identity:
        hint = "`obsctl setup consul-identity` gives tasks the role that reads it"
    if _key(stack) in awaited:
        return Finding.error(node, f"templates there may not read Consul's keys below {names.kv_prefix(stack)}/", hint)
    if awaited:
        return Finding.error(node, "templates there see no services in Consul: their token may not list them", hint)
    cause = Watch(site.nomad, site.consul, job).cause([allocation])
    return Finding.error(node, cause.sentence, cause.hint) if cause else None


def _key(stack: str) -> str:
    """A key that is there while the job runs: Consul says only of such a one that it may not be read."""
    return f"{names.kv_prefix(stack)}/doctor"


def _hidden(stack: str) -> str:
    """The key for which the template waits when it sees no services; nobody writes it."""
    return f"{names.kv_prefix(stack)}{names.NEVER_MADE}services"


def _job(site: Site, script: str, nodes: list[Json]) -> Json:
    """A job of type sysbatch: it runs once on each of the nodes. The time makes each a new version, which runs anew."""
    nomad, job_id = site.config.nomad, names.job_id(site.config.stack, names.DOCTOR_PROBE)
    task = {
        "Name": _TASK, "Driver": _DRIVER, "Config": {"command": "/bin/sh", "args": ["-c", script]},
        "Resources": {"CPU": 50, "MemoryMB": 32}, "Meta": {names.LOGS_META: "none"},
        "Templates": [_template(site.config.stack)],
        "RestartPolicy": {"Attempts": 0, "Mode": "fail", "Interval": 60 * _SECOND, "Delay": _SECOND},
    }  # fmt: skip
    job = {
        "ID": job_id, "Name": job_id, "Type": "sysbatch", "Namespace": nomad.namespace,
        "Datacenters": [*nomad.datacenters], **_on(nodes), "Meta": {"time": f"{site.clock.now():.3f}"},
        "TaskGroups": [
            {"Name": _TASK, "Tasks": [task], "RestartPolicy": task["RestartPolicy"], **_identity(site)}
        ],
    }  # fmt: skip
    return marked(job, stack=site.config.stack, component=names.DOCTOR_PROBE, spec="")


def _on(nodes: list[Json]) -> Json:
    """What of a job makes it run on these nodes alone: a job has one node pool, and the pool `all` has every node."""
    pools = {node["NodePool"] for node in nodes}
    ids = "|".join(sorted(node["ID"] for node in nodes))
    only = {"LTarget": "${node.unique.id}", "Operand": "regexp", "RTarget": f"^({ids})$"}
    return {"NodePool": pools.pop() if len(pools) == 1 else "all", "Constraints": [only]}


def _template(stack: str) -> Json:
    text = _READS % (_key(stack), _hidden(stack))
    return {"EmbeddedTmpl": text, "DestPath": "local/consul", "ChangeMode": "noop"}


def _identity(site: Site) -> Json:
    """The group's consul block, as the jobs of the stack have it: with it Nomad gets the task a token of its own."""
    return {"Consul": {}} if site.config.consul.workload_identity else {}
