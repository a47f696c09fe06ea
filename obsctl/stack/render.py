"""From the configuration and the templates to what should be on the cluster: the same input gives the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from jinja2 import Environment, pass_context

from obsctl import assets, names
from obsctl.config.api_servers import ConsulServer, NomadServer
from obsctl.config.components import Component
from obsctl.config.schema import Config
from obsctl.config.secrets import SecretRef
from obsctl.content import dashboards, rules
from obsctl.content.dashboards import Dashboard
from obsctl.content.rule_files import RuleFile
from obsctl.content.rules import Rules
from obsctl.model import Finding, host_and_port
from obsctl.stack import templates
from obsctl.stack.authority import certificates
from obsctl.stack.images import Pins, read_lock
from obsctl.stack.storage import Volume, volumes

RESEND_DELAY = 60.0
"""Prometheus' own default, seconds."""
DEMO_PHRASES = (
    "Bello!", "Poopaye!", "Tulaliloo ti amo!", "Bananaaaa!", "Me want banana!", "Para tú", "Tank yu!", "Po ka?",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RenderedJob:
    """The HCL of one component's job."""

    component: str
    job_id: str
    hcl: str


@dataclass(frozen=True, slots=True)
class Content:
    """One Consul KV value, and the component that reads it.

    seed: it is written only when there is none; from then on it is the user's own.
    after_jobs: it is written after all jobs are healthy, because its alerts would fire for jobs that only just start.
    """

    key: str
    value: str
    component: str
    seed: bool = False
    after_jobs: bool = False


@dataclass(frozen=True, slots=True)
class SecretItems:
    """A Nomad Variable: item -> reference. The secrets are read when the cluster is observed.

    generated: item -> the Variable that keeps it, this one or another. It is made when that does not hold it, and is
    never changed.
    """

    path: str
    items: dict[str, SecretRef]
    generated: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The whole stack as text; the order is fixed.

    images: those that jobs name, as configured. unlocked: those of them that are missing in the lock file.
    dashboards: those that Grafana gets. rule_files: the user's own. findings: what is wrong with the rules together.
    """

    stack: str
    jobs: tuple[RenderedJob, ...]
    content: tuple[Content, ...]
    secrets: tuple[SecretItems, ...]
    images: tuple[str, ...] = ()
    unlocked: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    dashboards: tuple[Dashboard, ...] = ()
    rule_files: tuple[RuleFile, ...] = ()
    findings: tuple[Finding, ...] = ()

    def files(self) -> dict[str, str]:
        """All of it as files below one folder: relative path -> text."""
        jobs = {f"jobs/{job.job_id}.nomad.hcl": job.hcl for job in self.jobs}
        return {**jobs, **{f"kv/{content.key}": content.value for content in self.content}}


def render(config: Config, root: Path, *, compiled: Path | None = None) -> Rendered:
    """Everything the config asks for. root: the folder of obsctl.yaml.

    compiled: a folder that nobody else can write to, for compiled templates: compiling takes longer than all the rest.
    Raises ObsctlError that names the wrong template. What is wrong with rules is in the result.
    """
    components = config.enabled_components()
    boards = dashboards.load(root) if config.components.grafana.enabled else ()
    pins = Pins(config.images.registry, read_lock(root))
    values = _values(config, boards)
    jobs = templates.environment(values, assets.search_path("jobs", root), compiled)
    # It wants the context, or Jinja would work it out for a constant when it compiles, and not in each render.
    jobs.filters["pinned"] = pass_context(lambda _, image: pins.name(image))
    texts = templates.environment(values, assets.search_path("templates", root), compiled)
    groups = rules.load(config, assets.shipped() / "alert-rules", root, {board.link for board in boards})
    rendered_jobs = tuple(_job(config, jobs, component) for component in components)
    return Rendered(
        stack=config.stack,
        jobs=rendered_jobs,
        content=tuple(sorted(_content(config, texts, boards, groups), key=lambda item: item.key)),
        secrets=tuple(item for component in components if (item := secret_items(config, component)) is not None),
        images=tuple(sorted(pins.used)),
        unlocked=pins.unlocked(),
        volumes=volumes(config),
        dashboards=boards,
        rule_files=groups.files,
        findings=groups.findings,
    )


def secret_items(config: Config, component: Component) -> SecretItems | None:
    """What the component's Nomad Variable is to hold; None when it needs none."""
    row = component.row
    items = row.secrets(config)
    if row.consul_program and (token := getattr(config.consul.tokens, row.consul_program)):
        items["consul_token"] = token
    if row.name == names.WARDEN and config.nomad.tokens.warden:
        items["nomad_token"] = config.nomad.tokens.warden
    for name, server in (("nomad", config.nomad), ("consul", config.consul)):
        if row.calls(name) and _shows_certificate(server):
            items |= {f"{name}_{part}": ref for part, ref in server.tls.programs if ref}
    path = _variable_path(config, row.name)
    enabled = {each.row.name for each in config.enabled_components()}
    copies = {item: _variable_path(config, other) for other, item in row.copies if other in enabled}
    generated = {**dict.fromkeys(row.generates, path), **copies}
    return SecretItems(path, items, generated) if items or generated else None


def _variable_path(config: Config, component: str) -> str:
    return names.variable_path(names.job_id(config.stack, component))


def _job(config: Config, environment: Environment, component: Component) -> RenderedJob:
    row = component.row
    job = names.job_id(config.stack, row.name)
    values = {
        "job": job,
        "owner": config.owner_of(component),
        "secrets": sorted(row.secrets(config)),
        "placed": config.placement_of(component),
    }
    template = f"{'demo/' if row.demo else ''}{row.name}.nomad.hcl.j2"
    return RenderedJob(row.name, job, templates.text(environment, template, **values, generated=row.generates))


def _content(
    config: Config, environment: Environment, boards: tuple[Dashboard, ...], groups: Rules
) -> Iterator[Content]:
    stack = config.stack
    for name in (component.row.name for component in config.enabled_components()):
        for file in config_files(name):
            text = templates.text(environment, f"{name}/{file}.j2")
            yield Content(f"{names.config_folder(stack)}/{file}", text, name)
    for name, text in groups.texts.items():
        yield Content(rule_key(stack, name), text, names.PROMETHEUS, after_jobs=name == rules.AVAILABILITY)
    for board in boards:  # each is a value of its own, so a changed one touches nothing else
        yield Content(f"{names.kv_prefix(stack)}/{_board_key(board)}", board.text, names.GRAFANA)
    if config.demo.enabled:
        phrases = json.dumps(DEMO_PHRASES, ensure_ascii=False)
        yield Content(names.DEMO_PHRASES_KEY, phrases, names.RESPONSE_SERVICE, seed=True)


def rule_key(stack: str, group: str) -> str:
    """The Consul key of a rule group."""
    return f"{names.rules_folder(stack)}/{_key_part(group, safe=' ')}"  # Nomad's `ls` sees no folders


def config_files(component: str) -> list[str]:
    """The configuration files that ship for a component; a template that begins with _ is a part of another."""
    templates = (assets.shipped() / "templates" / component).glob("[!_]*.j2")
    return sorted(file.name.removesuffix(".j2") for file in templates)


def _board_key(board: Dashboard) -> str:
    return f"dashboards/{_key_part(board.place, safe=' /')}"


def _key_part(name: str, safe: str) -> str:
    """Without a %: Consul 1.22 decodes it, and then refuses a key with a space. Nor is it a step in a path."""
    return re.sub(r"^\.+$", lambda dots: "=2E" * len(dots[0]), quote(name, safe=safe).replace("%", "="))


def _values(config: Config, boards: tuple[Dashboard, ...]) -> dict[str, object]:
    return {
        "stack": config.stack,
        "names": names,
        "prefix": names.kv_prefix(config.stack),
        "timing": config.timing,
        "components": config.components,
        "demo": config.demo,
        "logs": config.logs,
        "collects_logs": config.collects_logs,
        "alerting": config.alerting,
        "receivers": [
            {"name": each.name, "route": each.route(), "channels": each.configuration()}
            for each in config.alerting.receivers
        ],
        "time_intervals": config.alerting.intervals(),
        "nomad": _server(config.nomad, "nomad"),
        "consul": _server(config.consul, "consul"),
        "driver": config.driver_of,
        "count": config.count,
        "shares_node": config.shares_node,
        "routes_by_trace": config.routes_by_trace,
        "peer_timeout": config.peer_timeout,
        "resend_delay": _resend_delay(config),
        "dashboards": [{"uid": board.uid, "key": _board_key(board), "file": f"{board.place}.json"} for board in boards],
    }


def _server(server: NomadServer | ConsulServer, name: str) -> dict[str, object]:
    """The server's settings for templates, with the parts of its address and the certificates of its authority.

    on_node: the address for the stack's own programs.
    """
    file = server.tls.ca_file if _has_tls(server) else None
    return {
        **{key: getattr(server, key) for key in type(server).model_fields},
        **_parts(server.address),
        "on_node": _parts(server.from_nodes),
        "authority": certificates(file, f"{name}.tls.ca_file") if file else "",
        "shows_certificate": _shows_certificate(server),
    }


def _has_tls(server: NomadServer | ConsulServer) -> bool:
    return any(address.startswith("https:") for address in (server.address, server.from_nodes))


def _shows_certificate(server: NomadServer | ConsulServer) -> bool:
    """Whether the stack's programs have a client certificate for it."""
    return _has_tls(server) and server.tls.programs.cert is not None


def _parts(address: str) -> dict[str, object]:
    url = urlsplit(address)
    port = url.port or (443 if url.scheme == "https" else 80)
    where = host_and_port(url.hostname or "", port)
    return {"address": address, "scheme": url.scheme, "host_and_port": where, "port": port}


def _resend_delay(config: Config) -> float:
    """After how many seconds Prometheus sends a firing alert again: after a heartbeat, at most after a minute.

    Several Prometheus notice seconds apart that an alert ended. One that sends again in between would make it fire
    once more, so with several of anything it is always a minute.
    """
    several = config.count(config.components.alertmanager) > 1 or config.count(config.components.prometheus) > 1
    return RESEND_DELAY if several else min(config.timing.heartbeat, RESEND_DELAY)
