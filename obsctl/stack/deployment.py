"""A deploy: the stack is rendered and checked, a plan is prepared, and the plan is carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from obsctl import __version__, lease
from obsctl.clients.programs import Clients
from obsctl.config import versions
from obsctl.config.load import Loaded
from obsctl.config.schema import Config
from obsctl.content import dashboard_lint
from obsctl.errors import Forbidden, ObsctlError, Unreachable
from obsctl.model import Finding, Json, Severity
from obsctl.stack import amtool
from obsctl.stack.apply import apply
from obsctl.stack.checkers import Approvals
from obsctl.stack.checks import check
from obsctl.stack.health import Tools
from obsctl.stack.observe import Desired, Observed, desire, observe, resolver
from obsctl.stack.plan import Action, Plan, losses, plan
from obsctl.stack.render import Rendered, render
from obsctl.state import private_cache

Report = Callable[[Finding], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a deploy would do, and what that follows from. losses: the components that lose data, or may lose it."""

    desired: Desired
    observed: Observed
    plan: Plan
    losses: tuple[Finding, ...]

    def jobs_to_start(self) -> list[Json]:
        changed = {change.name for change in self.plan.effective if change.action is not Action.STOP}
        return [job.job for job in self.desired.jobs if job.job_id in changed]


def render_checked(loaded: Loaded, programs: Mapping[str, Path | None], report: Report) -> Rendered:
    """Render the stack and check every file. Raises ObsctlError that lists all errors; warnings are reported.

    programs: the paths of checks.TOOLS.
    """
    rendered = render(loaded.config, loaded.root, compiled=private_cache(f"compiled-{__version__}"))
    of_dashboards = dashboard_lint.lint(rendered.dashboards)  # `obsctl dashboards lint` shows its warnings
    explain = {amtool.FILE: partial(amtool.findings, loaded.config.alerting, place=loaded.place)}
    findings = check(rendered, programs, Approvals(private_cache("approved")), explain)
    findings += [finding for finding in of_dashboards if finding.severity is Severity.ERROR]
    hint = "correct what is named; nothing was sent"
    refuse_errors("the rendered configuration has errors", findings, report, hint)
    return rendered


def prepare(
    config: Config, rendered: Rendered, clients: Clients, components: frozenset[str], report: Report, adopt: str = ""
) -> Prepared:
    """Compare with the cluster, and change nothing. With `components`, only theirs is planned. adopt: the job without
    a mark that the stack takes over.

    Raises ObsctlError when the servers are too old for what the configuration asks for.
    """
    findings = versions.findings(config, _versions(clients))
    hint = "; ".join(dict.fromkeys(finding.hint for finding in findings if finding.severity is Severity.ERROR))
    refuse_errors("the cluster cannot do what obsctl.yaml asks for; nothing was changed", findings, report, hint)
    desired = desire(rendered, clients.nomad, resolver(clients.nomad))
    observed = observe(desired, clients.nomad, clients.consul)
    changes = plan(desired, observed, only=components, adopt=adopt)
    return Prepared(desired, observed, changes, tuple(losses(changes, config, desired, observed)))


def carry_out(prepared: Prepared, tools: Tools) -> None:
    """Make the changes while the stack is locked. Raises what `lease.hold` and `apply` raise."""
    with lease.hold(tools.consul, prepared.plan.stack, "deploy", clock=tools.clock) as held:
        apply(prepared.plan, prepared.desired, prepared.observed, replace(tools, check=held.check))


def drift(rendered: Rendered, clients: Clients) -> dict[str, tuple[str, ...]]:
    """Component -> how its job and its files differ from what a deploy would make; "" -> what it would take away.

    Values of secrets and volumes are not compared: one who may look at a stack need not be able to read them.
    """
    desired = desire(replace(rendered, secrets=(), volumes=()), clients.nomad, resolver(clients.nomad))
    changes = plan(desired, observe(desired, clients.nomad, clients.consul)).effective
    owners = {job.job_id: job.component for job in desired.jobs}
    owners |= {content.key: content.component for content in desired.content}
    words: dict[str, tuple[str, ...]] = {}
    for change in changes:
        owner = owners.get(change.name, "")
        words[owner] = (*words.get(owner, ()), f"{change.kind} {change.shown}: {change.reason}", *change.details)
    return words


def _versions(clients: Clients) -> dict[str, versions.Version]:
    """Server ("nomad", "consul") -> version. A server that does not tell it is left out: the token may not be allowed
    to ask, and an unreachable server is named by the next call."""
    known = {}
    for name, api in (("nomad", clients.nomad), ("consul", clients.consul)):
        with suppress(Forbidden, Unreachable):
            known[name] = versions.parse(api.agent_version())
    return known


def refuse_errors(title: str, findings: Sequence[Finding], report: Report, hint: str) -> None:
    """Report the warnings, and raise ObsctlError that lists the errors if there are any."""
    for finding in findings:
        if finding.severity is Severity.WARNING:
            report(finding)
    errors = [_words(finding, hint) for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise ObsctlError("\n  ".join([title, *errors]), hint=hint)


def _words(finding: Finding, hint: str) -> str:
    """With its own hint, unless that is told for all of them."""
    return f"{finding.where}: {finding.what}" + (
        f" ({finding.hint})" if finding.hint and finding.hint not in hint else ""
    )
