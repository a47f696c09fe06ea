"""Whether what is watched can be seen: rules, the tag, its meta, and jobs that end by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches

from obsctl import names
from obsctl.clients.instances import is_scraped, not_of_others
from obsctl.doctor.site import Site
from obsctl.errors import Forbidden, NotFound, Rejected
from obsctl.model import Finding, Json, Severity, one_line

_PARAMETER = re.compile("[^&=%]+=[^&%]+")
_KEYS = (names.PATH_META, names.SCHEME_META, names.PORT_META)


def meta(site: Site) -> Iterator[Finding]:
    """Meta keys that say how a service is scraped, and would be left out without a word."""
    tagged = sorted(name for name, tags in site.consul.services().items() if names.SCRAPE_TAG in tags)
    for name in tagged:
        try:
            instances = [each for each in site.consul.health(name) if is_scraped(each, site.config.stack)]
        except Rejected as error:  # others can give services whatever names
            yield Finding(Severity.WARNING, f"service {one_line(name)}", error.message, "find who registers it")
            continue
        sentences = dict.fromkeys(sentence for each in instances for sentence in _misread(each))
        for what, hint in sentences:
            yield Finding(Severity.WARNING, f"service {one_line(name)}", what, hint)


def _misread(instance: Json) -> Iterator[tuple[str, str]]:
    """What is wrong, and what to write."""
    own: dict[str, str] = instance["Service"].get("Meta") or {}
    for key in own:
        if key.startswith("metrics_") and key not in _KEYS and not key.startswith(names.PARAMETER_META):
            near = get_close_matches(key, [*_KEYS, names.PARAMETER_META], n=1)
            meant = f"write {near[0]}" if near else f"there are {', '.join(_KEYS)} and {names.PARAMETER_META}<name>"
            yield f"its meta {key} means nothing to Prometheus", meant
    if own.get(names.SCHEME_META, "http") not in ("http", "https"):
        yield f"its meta {names.SCHEME_META} is neither http nor https, and http is used", "correct it"
    if not re.fullmatch(r"\d{1,5}", own.get(names.PORT_META, "1")):
        yield f"its meta {names.PORT_META} is no port, and the service's own is used", "write the number alone"
    path, asks, query = own.get(names.PATH_META, "").partition("?")
    if "%" in path:
        what = f"its meta {names.PATH_META} has a %, and Prometheus asks for %25 in its place"
        yield what, "write the path as it is, unescaped: Prometheus escapes it"
    parameters = query.split("&") if asks else []
    if len(parameters) > names.PATH_PARAMETERS or not all(map(_PARAMETER.fullmatch, parameters)):
        what = (
            f"in its meta {names.PATH_META} are more than {names.PATH_PARAMETERS} parameters, one without a value, or %"
        )
        yield what, f"give each parameter a meta of its own, unescaped: {names.PARAMETER_META}<name>"


def rules(site: Site) -> Iterator[Finding]:
    """What stops a deploy in the user's own rule files; `obsctl validate` says more."""
    yield from site.rendered.findings
    for file in site.rendered.rule_files:
        yield from file.problems


def services(site: Site) -> Iterator[Finding]:
    """Watched services for which ServiceDown would fire though they run, or fires whenever their job has ended."""
    for name, job in site.config.watched_services().items():
        instances = [each for each in site.consul.health(name) if not_of_others(each, site.config.stack)]
        if job.namespace == site.config.nomad.namespace and _ends(job.id, site):
            what = f"its job {job.id} is periodic or dispatched: {names.SERVICE_DOWN} fires between its runs"
            hint = "watch by an alert of your own what such a job leaves behind, and take it out of services"
            yield Finding(Severity.WARNING, f"services.{name}", what, hint)
        elif name in site.config.services and not instances:
            what = f"is not in Consul, so {names.SERVICE_DOWN} fires for it"
            yield Finding(Severity.WARNING, f"services.{name}", what, "start its job, or correct its name")
        if instances and not any(is_scraped(each, site.config.stack) for each in instances):
            what = f"is not scraped, so {names.SERVICE_DOWN} fires for it"
            yield Finding(Severity.WARNING, f"services.{name}", what, f"give it the Consul tag {names.SCRAPE_TAG}")


def _ends(job_id: str, site: Site) -> bool:
    try:
        job = site.nomad.job(job_id)
    except (Forbidden, NotFound):
        return False
    return bool(job.get("Periodic") or job.get("ParameterizedJob"))
