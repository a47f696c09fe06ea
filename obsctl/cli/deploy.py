"""render, validate, plan, deploy: what should stand, what would change, and the change itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from obsctl import __version__
from obsctl.cli.app import App
from obsctl.cli.options import deploys
from obsctl.errors import ObsctlError
from obsctl.model import Finding, Severity

if TYPE_CHECKING:
    from obsctl.cli.wire import Clients
    from obsctl.clients.programs import Programs
    from obsctl.stack.observe import Desired, Observed
    from obsctl.stack.plan import Plan
    from obsctl.stack.render import Rendered


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the files below DIR.",
    metavar="DIR",
)
@click.pass_obj
def render(app: App, output: Path | None) -> None:
    """Print every job and configuration file as the cluster would get them. Needs no cluster.

    Example: obsctl render -o rendered
    """
    rendered = _rendered(app)
    files = rendered.files()
    if output:
        _write(output, files)
    listing = "\n".join(f"{output}/{name}" for name in files)
    text = listing if output else "\n".join(f"# ---- {name}\n{text}" for name, text in files.items())
    app.ui.result("render", {"files": files}, text)


@click.command()
@click.pass_obj
def validate(app: App) -> None:
    """Check the configuration, rules, dashboards and every rendered file. Needs no cluster; all faults at once.

    Example: obsctl validate
    """
    rendered = _rendered(app)
    counts = f"{len(rendered.jobs)} jobs, {len(rendered.content)} files"
    app.ui.result("validate", {"valid": True, "jobs": len(rendered.jobs)}, f"valid: {counts}")


@click.command()
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@click.option("--exit-code", is_flag=True, help="Exit 4 when there are changes.")
@click.pass_obj
def plan(app: App, components: tuple[str, ...], exit_code: bool) -> int:
    """Show what a deploy would change; changes nothing.

    Example: obsctl plan --exit-code
    """
    from obsctl.stack.plan import losses

    made, desired, observed, _ = _planned(app, _rendered(app), components)
    lost = losses(made, app.loaded.config, desired, observed)
    sums = {"checksum": made.checksum(), "counts": made.counts(), "losses": [asdict(finding) for finding in lost]}
    app.ui.result("plan", {**made.to_dict(), **sums}, _plan_text(made, lost))
    return 4 if exit_code and made.effective else 0


@click.command()
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@deploys
@click.pass_obj
def deploy(app: App, components: tuple[str, ...], yes: bool, timeout: float) -> None:
    """Bring the cluster to what obsctl.yaml says: show the plan, ask, apply it, and look whether it works.

    A second deploy changes nothing. With COMPONENTs, only what is theirs is touched, and nothing is stopped.

    Example: obsctl deploy --yes
    """
    from obsctl import lease
    from obsctl.stack.apply import apply
    from obsctl.stack.health import Tools
    from obsctl.stack.plan import losses

    rendered = _rendered(app)
    made, desired, observed, clients = _planned(app, rendered, components)
    lost = losses(made, app.loaded.config, desired, observed)
    app.ui.say(_plan_text(made, lost))
    if made.effective:
        _confirm(app, yes)
        _await_programs(app, made, desired)
        with lease.hold(clients.consul, made.stack, "deploy") as held:
            apply(made, desired, observed, Tools(clients.nomad, clients.consul, app.ui.event, timeout, held.check))
    if not components:
        _verify(app, clients.programs, timeout)
    names = [change.name for change in made.effective]
    text = f"Deployed: {len(names)} change{'s' * (len(names) > 1)} made." if names else ""
    document = {"changes": names, "counts": made.counts(), "losses": [asdict(finding) for finding in lost]}
    app.ui.result("deploy", document, text)


def _await_programs(app: App, made: Plan, desired: Desired) -> None:
    """The local cluster may run before all programs of its jobs are there."""
    from obsctl.cli import wire
    from obsctl.doctor.here import commands
    from obsctl.stack.plan import Action

    cluster = wire.local_cluster(app.loaded.config)
    if cluster:
        changed = {change.name for change in made.effective if change.action is not Action.STOP}
        jobs = [job.job for job in desired.jobs if job.job_id in changed]
        cluster.await_programs(set().union(*map(commands, jobs)), app.ui.event)


def _verify(app: App, programs: Programs, timeout: float) -> None:
    """Healthy jobs are not yet working paths: look at both as a whole."""
    from obsctl.stack.flow import wait_flowing
    from obsctl.stack.verify import wait_wired

    config, parts = app.loaded.config, app.loaded.config.components
    if config.has_alert_path():
        wait_wired(config, programs, emit=app.ui.event, timeout=timeout)
    if parts.otel_agent.enabled:
        wait_flowing(
            programs.otel_agent,
            programs.jaeger if parts.jaeger.enabled else None,
            programs.logs if parts.victorialogs.enabled else None,
            emit=app.ui.event,
            timeout=timeout,
        )


def _rendered(app: App) -> Rendered:
    """Rendered and checked; raises with all faults at once."""
    from obsctl.cli.wire import check_tools
    from obsctl.content import dashboard_lint, dashboards
    from obsctl.stack.approved import Approvals
    from obsctl.stack.checks import check
    from obsctl.stack.render import render as render_stack
    from obsctl.state import private_cache

    loaded = app.loaded
    rendered = render_stack(loaded.config, loaded.root, compiled=private_cache(f"templates-{__version__}"))
    findings = check(rendered, check_tools(loaded.config), Approvals(private_cache("approved")))
    if loaded.config.components.grafana.enabled:
        of_dashboards = dashboard_lint.lint(dashboards.shipped(loaded.root))  # its warnings: obsctl dashboards lint
        findings += [finding for finding in of_dashboards if finding.severity is Severity.ERROR]
    for finding in findings:
        if finding.severity is not Severity.ERROR:
            app.ui.finding(finding)
    errors = [f"{finding.where}: {finding.what}" for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        words = "\n  ".join(["the rendered configuration has faults", *errors])
        raise ObsctlError(words, hint="correct what is named; nothing was sent")
    return rendered


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ObsctlError(f"cannot write {target}: {error.strerror}", hint="choose another DIR") from error


def _planned(app: App, rendered: Rendered, components: tuple[str, ...]) -> tuple[Plan, Desired, Observed, Clients]:
    from obsctl.cli import wire
    from obsctl.stack.observe import desire, observe
    from obsctl.stack.plan import plan as make_plan
    from obsctl.stack.versions import require

    _refuse_unknown(components, {job.component for job in rendered.jobs})
    clients = wire.clients(app.loaded.config)
    for finding in require(app.loaded.config, clients.nomad, clients.consul):
        app.ui.finding(finding)
    desired = desire(rendered, clients.nomad, clients.resolve)
    observed = observe(desired, clients.nomad, clients.consul)
    return make_plan(desired, observed, only=frozenset(components)), desired, observed, clients


def _refuse_unknown(components: tuple[str, ...], known: set[str]) -> None:
    unknown = sorted(set(components) - known)
    if unknown:
        raise click.UsageError(f"no component {', '.join(unknown)}; there are {', '.join(sorted(known))}")


def _confirm(app: App, yes: bool) -> None:
    if yes:
        return
    if not app.ui.is_interactive():
        raise ObsctlError("this would change the cluster, and nobody can be asked", hint="add --yes")
    if not click.confirm("Apply this plan?", err=True):
        raise ObsctlError("not confirmed; nothing was changed", hint="run it again and answer y, or add --yes")


_MARKS = {"create": "+", "update": "~", "stop": "-", "none": "="}


def _plan_text(made: Plan, lost: Sequence[Finding]) -> str:
    lines = [f"Stack {made.stack}"]
    for change in made.effective:
        lines.append(f"  {_MARKS[change.action]} {change.action:6} {change.kind:8} {change.name}  ({change.reason})")
        lines += [f"        {detail}" for detail in _details(change.details)]
    lines += [f"  ! {finding.where}: {finding.what}\n        {finding.hint}" for finding in lost]
    counts: dict[str, Any] = made.counts()
    summary = "{create} to create, {update} to update, {stop} to stop, {none} unchanged".format(**counts)
    lines.append(f"Plan: {summary}." if made.effective else f"Nothing to change: {counts['none']} as desired.")
    return "\n".join(lines)


def _details(details: tuple[str, ...]) -> list[str]:
    shown = list(details[:6])
    return [*shown, f"… and {len(details) - 6} more"] if len(details) > 6 else shown
