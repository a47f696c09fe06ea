"""Whether what should run and be scraped does, and whether Prometheus has every rule."""

from __future__ import annotations

from collections.abc import Iterator

from obsctl import names
from obsctl.clients.instances import is_scraped, passes
from obsctl.errors import Rejected
from obsctl.junit import Check
from obsctl.model import Json
from obsctl.stack import alert_path
from obsctl.stack.scraped import Node, nodes, nomad_nodes
from obsctl.stack.status import status
from obsctl.verify.site import Site, judge

_ID = "__meta_consul_service_id"


def components(site: Site) -> Iterator[Check]:
    """Each as `obsctl status` has it."""
    for component in status(site.config, site.clients, site.clock).components:
        lack = "" if component.state == "healthy" else f"{component.state}: {component.note}"
        yield judge("components", component.component, lack)


def targets(site: Site) -> Iterator[Check]:
    """Each target of each Prometheus, and each tagged instance that is none. What is on a lost node is one fault."""
    instances, in_nomad = site.clients.programs.prometheus.each(), nomad_nodes(site.clients.nomad)
    for prometheus in instances:
        where = f" ({prometheus.address})" if len(instances) > 1 else ""
        active = prometheus.targets()
        away = {node.name: node for node in nodes(active, site.clients, in_nomad) if node.is_away}
        for node in away.values():
            yield _away(node, where)
        for target in active:
            if target["labels"].get("node") in away:
                continue
            labels, is_up = target["labels"], target["health"] == "up"
            lack = "" if is_up else target.get("lastError") or f"its health is {target['health']}"
            yield judge("targets", f"{labels.get('job')} at {labels.get('instance', '?')}{where}", lack)
        known = {(target.get("discoveredLabels") or {}).get(_ID) for target in active}
        for name, entry in _tagged(site):
            if entry["Service"]["ID"] not in known:
                lack = f"has the tag {names.SCRAPE_TAG} in Consul, and is no target of Prometheus"
                yield judge("targets", f"{name} ({entry['Service']['ID']}){where}", lack)


def _away(node: Node, where: str) -> Check:
    """Who drained a node before it went meant it to do no work."""
    name, words = f"node {node.name}{where}", f"nothing on it answers, with {node.count}"
    if node.is_closed:
        return judge("targets", name, "", f"{words}{node.before}")
    return judge("targets", name, f"{words}: it is lost")


def _tagged(site: Site) -> Iterator[tuple[str, Json]]:
    """Service and instance, but for those on a node that Consul has given up."""
    consul = site.clients.consul
    for name, tags in sorted(consul.services().items()):
        if names.SCRAPE_TAG not in tags or name in names.SERVERS:
            continue
        try:
            entries = consul.health(name)
        except Rejected:  # others can give services whatever names; doctor tells of them
            continue
        for entry in entries:
            of_node = {**entry, "Checks": [check for check in entry["Checks"] if not check.get("ServiceID")]}
            if is_scraped(entry, site.config.stack) and passes(of_node):
                yield name, entry


def rules(site: Site) -> Iterator[Check]:
    """Each rule that the last deploy wrote."""
    for name, fault in alert_path.rule_faults(site.clients.programs):
        yield judge("rules", name, fault)


def alerting(site: Site) -> Iterator[Check]:
    """The way from Prometheus to Alertmanager, and the heartbeat, which takes the whole of it."""
    expected, programs = alert_path.Expected.of(site.config), site.clients.programs
    yield judge("alert path", "Prometheus to Alertmanager", "; ".join(alert_path.links(expected, programs)))
    if site.config.components.alert_sink.enabled:
        beats = alert_path.heartbeat(expected.heartbeat, programs.sink, site.clock)
        yield judge("alert path", "heartbeat", "; ".join(beats))
