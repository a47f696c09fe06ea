"""Whether Grafana has the plugin that reads the logs, without which it shows none, and whether alerts lead to it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from obsctl import files, names
from obsctl.clients.instances import of_job, passes
from obsctl.config.catalog import Grafana
from obsctl.config.components import Driver
from obsctl.doctor.site import Site
from obsctl.errors import ObsctlError
from obsctl.model import Finding, Json, Severity

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
"""Python's name for an architecture -> Go's name."""


def log_plugin(site: Site) -> Iterator[Finding]:
    """A running Grafana says what it has loaded. Before it runs, a folder of this machine can be looked at."""
    parts, job = site.config.components, names.job_id(site.config.stack, names.GRAFANA)
    if not (parts.grafana.enabled and parts.victorialogs.enabled):
        return
    if any(map(passes, of_job(site.consul.health(names.GRAFANA), site.nomad.job_allocations(job)))):
        yield from _while_it_runs(site, job)
    else:
        yield from _before_it_runs(site, job, parts.grafana)


def dashboards(site: Site) -> Iterator[Finding]:
    """The cluster does not know where people open Grafana; often it is a proxy."""
    parts = site.config.components
    if parts.prometheus.enabled and parts.grafana.enabled and parts.grafana.root_url is None:
        what = "alerts have no link to a dashboard, because obsctl does not know where people open Grafana"
        yield Finding(Severity.WARNING, "dashboards", what, "set components.grafana.root_url in obsctl.yaml")


def _while_it_runs(site: Site, job: str) -> Iterator[Finding]:
    try:
        loaded = site.programs.grafana.plugins()
    except ObsctlError as error:
        yield Finding.unseen(job, f"its plugins cannot be seen from here: {error.message}")
        return
    if Grafana.plugin not in loaded:
        what = f"runs without the plugin {Grafana.plugin}, so it shows no logs"
        yield Finding(Severity.WARNING, job, what, f"{_remedy(site.config.components.grafana)}, then restart it")


def _remedy(grafana: Grafana) -> str:
    if grafana.plugins_dir is None:
        return "let its node reach grafana.com, or set components.grafana.plugins_dir (docs/drivers.md)"
    return f"put it into {grafana.plugins_dir}, as its publisher signed it (docs/drivers.md)"


def _before_it_runs(site: Site, job: str, grafana: Grafana) -> Iterator[Finding]:
    if grafana.plugins_dir is None:
        what = f"fetches {Grafana.plugin} from grafana.com, and obsctl cannot see whether its node reaches that"
        hint = "in a closed network set components.grafana.plugins_dir (docs/drivers.md)"
        yield Finding(Severity.WARNING, job, what, hint)
        return
    homes = [node["ID"] for job_ in site.jobs if job_["ID"] == job for node in site.homes(job_)]
    if site.config.driver_of(grafana) is Driver.RAW_EXEC and any(site.is_here(node) for node in homes):
        yield from flaws(Path(grafana.plugins_dir), job)
    else:
        what = f"obsctl cannot see from here whether it finds {Grafana.plugin} in {grafana.plugins_dir}"
        yield Finding.unseen(job, what)


def flaws(folder: Path, job: str) -> Iterator[Finding]:
    """What keeps a Grafana on this machine from loading the plugin from the folder."""
    files = sorted([*folder.glob("*/plugin.json"), *folder.glob("*/dist/plugin.json")])
    manifest = next((file for file in files if _read(file).get("id") == Grafana.plugin), None)
    if manifest is None:
        hint = f"unpack a release of it there: {folder}/{Grafana.plugin}/plugin.json"
        yield Finding(Severity.WARNING, job, f"{folder} does not hold the plugin {Grafana.plugin}", hint)
        return
    if not (manifest.parent / "MANIFEST.txt").is_file():
        what = f"{manifest.parent} is not signed (no MANIFEST.txt), so Grafana does not load it"
        yield Finding(Severity.WARNING, job, what, "unpack a release of its publisher and change nothing")
    machine = platform.machine()
    program = manifest.parent / f"{_read(manifest).get('executable')}_linux_{_ARCHITECTURES.get(machine, machine)}"
    if not os.access(program, os.X_OK):
        what = f"{program} is missing or cannot be run, so Grafana gets no answer from it"
        yield Finding(Severity.WARNING, job, what, "unpack a release for this machine, and keep its file modes")


def _read(file: Path) -> Json:
    try:
        document = json.loads(files.read(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
