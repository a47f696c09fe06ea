"""What a deploy does not mind, and a cluster that people rely on should: `obsctl doctor --production`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from operator import itemgetter

from obsctl import names
from obsctl.clients.jobs import is_running
from obsctl.config.components import Availability, Driver
from obsctl.config.timing import Profile
from obsctl.doctor.disks import disk_of
from obsctl.doctor.site import Site
from obsctl.errors import ApiError, Forbidden, NotFound
from obsctl.model import Finding, Json, one_line
from obsctl.stack import storage
from obsctl.stack.images import LOCK_FILE

_LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")
STORED = "prometheus_tsdb_storage_blocks_bytes"
STORED_FOR = "prometheus_tsdb_head_max_time_seconds - prometheus_tsdb_lowest_timestamp_seconds"
SHOWN = 5
"""Of the names of other jobs, the most that are listed."""
_LONG_ENOUGH = 6 * 3600.0
"""Seconds: three of Prometheus' first blocks, which cover two hours each. Less tells nothing about the growth."""


def availability(site: Site) -> Iterator[Finding]:
    config = site.config
    if config.profile is Availability.HA_ONE_NODE:
        what = "is ha-one-node: the whole stack goes with its node"
        yield Finding.warning("profile", what, "profile: ha, on three nodes or more (docs/high-availability.md)")
    for component in config.enabled_components():
        if component.row.on_alert_path and component.row.name != names.ALERT_SINK and config.count(component) < 2:
            what = "runs once: while Nomad starts it anew somewhere, nobody is told of anything"
            yield Finding.warning(component.row.name, what, "profile: ha runs several, each on a node of its own")


def receivers(site: Site) -> Iterator[Finding]:
    alerting = site.config.alerting
    if not alerting.receivers:
        what = "has no receiver: alerts reach alert-sink's page and nobody else"
        yield Finding.error("alerting.receivers", what, "add who is to be told (docs/alerts.md)")
    if alerting.heartbeat.outside_url is None and alerting.heartbeat.silence_webhook is None:
        what = "is empty: when the alert path itself is dead, nobody hears of it"
        hint = "set outside_url to a check outside this cluster, which tells you when it hears nothing"
        yield Finding.warning("alerting.heartbeat", what, hint)


def transport(site: Site) -> Iterator[Finding]:
    for key, server in (("nomad", site.config.nomad), ("consul", site.config.consul)):
        if server.address.startswith("http://") and not server.address.startswith(_LOOPBACK):
            what = f"{server.address} is not encrypted: whoever is on the way reads the token"
            yield Finding.error(
                f"{key}.address", what, f"turn on TLS in {key}'s agents, and give the address as https://"
            )
        if not server.tls.verify:
            what = "is false: anybody on the way can pose as the server and read the token"
            yield Finding.error(f"{key}.tls.verify", what, f"name the authority in {key}.tls.ca_file instead")


def access(site: Site) -> Iterator[Finding]:
    """What somebody without a token may do."""
    prefix = f"{names.kv_prefix(site.config.stack)}/"
    anybody = site.logins.consul(None)
    tries: tuple[tuple[str, str, Callable[[], object]], ...] = (
        ("nomad", "anybody who reaches it may see and run jobs", site.agent(site.config.nomad.address).jobs),
        (
            "consul",
            "anybody who reaches it may read the stack's keys",
            partial(anybody.entries, prefix),
        ),
    )
    for server, what, call in tries:
        try:
            call()
        except Forbidden:
            continue
        hint = f"turn on {server}'s ACLs with default policy deny; `obsctl policies` prints what obsctl needs"
        yield Finding.error(server, f"answers without a token: {what}", hint)


def neighbours(site: Site) -> Iterator[Finding]:
    """Who else may submit jobs where the stack's are, and so may submit one in the place of a program of the stack."""
    stack, namespace = site.config.stack, site.config.nomad.namespace
    running = [stub for stub in site.nomad.jobs() if stub["Status"] != "dead"]
    owners = {one_line(stub["ID"]): (stub.get("Meta") or {}).get(names.STACK_MARK) for stub in running}
    if others := sorted(job for job, owner in owners.items() if owner != stack):
        left = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        what = (
            f"{namespace} has jobs that are not the stack's ({', '.join(others[:SHOWN])}{left}): who may submit jobs"
            " there can become every program of the stack"
        )
        hint = "give the stack a namespace of its own, or that right to those alone whom you trust with the stack"
        yield Finding.warning("nomad.namespace", what, f"{hint} (docs/security.md)")
    longer = sorted({one_line(owner) for owner in owners.values() if owner and owner.startswith(f"{stack}-")})
    if longer:
        what = f"rights for {stack}-* reach the secrets and host volumes of {', '.join(longer)} too"
        yield Finding.warning("stack", what, "choose names of which none begins with another and a hyphen")


def passwords(site: Site) -> Iterator[Finding]:
    if not site.config.components.grafana.enabled:
        return
    if site.config.components.grafana.anonymous:
        what = "is true: everybody who reaches Grafana sees all dashboards, and logs and traces by them"
        yield Finding.warning("components.grafana.anonymous", what, "take it out, and make accounts")
    try:
        accepts = site.programs.grafana.accepts("admin", "admin")
    except NotFound:
        return  # it does not run
    if accepts:
        what = "takes the password that every new Grafana has (admin, admin)"
        yield Finding.error("grafana", what, "change it in Grafana: its profile page, Change password")


def data(site: Site) -> Iterator[Finding]:
    """Whether data outlives its allocation, and that somebody keeps a copy of it."""
    keepers = [each for each in site.config.enabled_components() if each.data() is not None]
    for component in keepers:
        if (of := component.data()) and of.kind == "ephemeral":
            what = "keeps its data only as long as its allocation (storage: ephemeral)"
            hint = f"components.{component.row.name}.storage.kind: host or dynamic"
            yield Finding.warning(component.row.name, what, hint)
    lasting = sorted(each.row.name for each in keepers if (of := each.data()) and of.kind != "ephemeral")
    if lasting:
        what = f"obsctl makes none of what {', '.join(lasting)} keep: see to it that their volumes are copied"
        yield Finding.unseen("backups", what)


def retention(site: Site) -> Iterator[Finding]:
    """Whether the disk of each Prometheus will hold what that is to keep, by what it has taken so far."""
    if not site.config.components.prometheus.enabled:
        return
    try:
        stored, spans = (_by_allocation(site.programs.prometheus.query(query)) for query in (STORED, STORED_FOR))
    except NotFound:
        return  # it does not run
    job_id = names.job_id(site.config.stack, names.PROMETHEUS)
    running = filter(is_running, site.nomad.job_allocations(job_id))
    for node_id, own in groupby(sorted(running, key=itemgetter("NodeID")), key=itemgetter("NodeID")):
        grown = [(stored.get(each["ID"], 0.0), spans.get(each["ID"], 0.0)) for each in own]
        yield from _outgrown(site, site.nomad.node(node_id), grown)


def _outgrown(site: Site, node: Json, grown: list[tuple[float, float]]) -> Iterator[Finding]:
    """grown: what each Prometheus of this node has stored, and for how many seconds."""
    name, prometheus = node["Name"], site.config.components.prometheus
    if any(span < _LONG_ENOUGH or not stored for stored, span in grown):
        what = f"has not run long enough on {name} to tell how much disk its retention takes: look again in a day"
        yield Finding.unseen("prometheus", what)
        return
    try:
        disk = disk_of(site, node, site.nomad.disk_stats(node["ID"]), prometheus)
    except ApiError as error:
        what = f"how much disk is free for it on {name} cannot be seen: {error.message}"
        yield Finding.unseen("prometheus", what)
        return
    kept_for, taken = prometheus.retention, sum(stored for stored, _ in grown)
    final, room = sum(stored / span * kept_for for stored, span in grown), taken + disk.free
    if final > room * 0.8:
        what = (
            f"takes {_gigabytes(taken)} on {name} after {max(span for _, span in grown) / 86400:.1f} days, so"
            f" {kept_for / 86400:.0f} days take {_gigabytes(final)}; the disk has {_gigabytes(room)} for it"
        )
        yield Finding.error("components.prometheus.retention", what, "shorten it, or give the node a larger disk")


def _by_allocation(vector: list[Json]) -> dict[str, float]:
    return {sample["metric"].get("allocation", ""): float(sample["value"][1]) for sample in vector}


def _gigabytes(amount: float) -> str:
    return f"{amount / 1e9:.1f} GB"


def limits(site: Site) -> Iterator[Finding]:
    """Whether a program that takes more memory than it reserved harms the others of its node."""
    free = sorted(
        component.row.name
        for component in site.config.enabled_components()
        if site.config.driver_of(component) is Driver.RAW_EXEC
    )
    if free:
        what = f"sets no limit of memory for {', '.join(free)}: one that grows takes that of its node's other jobs"
        yield Finding.warning("raw_exec", what, "driver: docker, podman or exec enforces components.*.resources.memory")


def images(site: Site) -> Iterator[Finding]:
    drivers = {site.config.driver_of(component) for component in site.config.enabled_components()}
    if drivers & {Driver.DOCKER, Driver.PODMAN} and not (site.root / LOCK_FILE).exists():
        what = "is not there: an image's tag may mean another program tomorrow, and on each node"
        yield Finding.warning(LOCK_FILE, what, "run obsctl lock, and keep the file beside obsctl.yaml")


def purpose(site: Site) -> Iterator[Finding]:
    """What is there to show something, and not to rely on."""
    if site.config.demo.enabled:
        yield Finding.warning(
            "demo.enabled", "is true: the demo's services and their traffic run too", "set it to false"
        )
    if site.config.timing.profile is Profile.FAST:
        what = "is fast: it pages for what is over in seconds, and keeps many samples"
        yield Finding.warning("timing", what, "timing: standard")
    if storage.node_count(site.config, site.config.components.prometheus) > len(site.details):
        yield Finding.warning("nodes", "there are fewer than profile ha needs", "add nodes, or set profile: single")
