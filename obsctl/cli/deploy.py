"""render, validate, plan, deploy, adopt: what should be on the cluster, what would change, and the change itself."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from obsctl import files
from obsctl.cli.app import App
from obsctl.cli.options import deploys
from obsctl.errors import ObsctlError

if TYPE_CHECKING:
    from obsctl.clients.programs import Clients
    from obsctl.stack.deployment import Prepared
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
    texts = rendered.files()
    if output:
        _write(output, texts)
    listing = "\n".join(f"{output}/{name}" for name in texts)
    text = listing if output else "\n".join(f"# ---- {name}\n{text}" for name, text in texts.items())
    app.ui.result("render", {"files": texts}, text)


@click.command()
@click.pass_obj
def validate(app: App) -> None:
    """Check the configuration, rules, dashboards and every rendered file. Needs no cluster; shows all errors.

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
    prepared, _ = _prepared(app, components)
    changes, losses = prepared.plan, [asdict(finding) for finding in prepared.losses]
    sums = {"checksum": changes.checksum(), "counts": changes.counts(), "losses": losses}
    app.ui.result("plan", {**changes.to_dict(), **sums}, _plan_text(prepared))
    return 4 if exit_code and changes.effective else 0


@click.command()
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@deploys
@click.pass_obj
def deploy(app: App, components: tuple[str, ...], yes: bool, timeout: float) -> None:
    """Bring the cluster to what obsctl.yaml says: show the plan, ask, apply it, and check that it works.

    A second deploy changes nothing. With COMPONENTs, only these are changed, and nothing is stopped.

    Example: obsctl deploy --yes
    """
    from obsctl.stack.deployment import carry_out
    from obsctl.stack.health import Tools
    from obsctl.stack.verify import verify, wait_components

    prepared, clients = _prepared(app, components)
    app.ui.say(_plan_text(prepared))
    tools = Tools(clients.nomad, clients.consul, app.ui.event, timeout)
    names = [change.name for change in prepared.plan.effective]
    if names:
        _refuse_useless_proofs(app, prepared)
        _confirm(app, yes)
        _await_programs(app, prepared)
        carry_out(prepared, tools)
    if not components:
        wait_components(app.loaded.config, clients, tools)
        verify(app.loaded.config, clients.programs, tools)
    text = f"Deployed: {len(names)} change{'s' * (len(names) > 1)} made." if names else ""
    losses = [asdict(finding) for finding in prepared.losses]
    app.ui.result("deploy", {"changes": names, "counts": prepared.plan.counts(), "losses": losses}, text)


@click.command()
@click.argument("job")
@deploys
@click.pass_obj
def adopt(app: App, job: str, yes: bool, timeout: float) -> None:
    """Take over a JOB that has the name of a component's job and was not made by obsctl: show what changes, and ask.

    From then on obsctl deploy keeps it as obsctl.yaml says. A job of another stack is refused.

    Example: obsctl adopt obs-prometheus
    """
    from obsctl.cli import wire
    from obsctl.stack.adoption import component_of
    from obsctl.stack.deployment import carry_out, prepare
    from obsctl.stack.health import Tools

    rendered = _rendered(app)
    clients = wire.clients(app.loaded.config)
    component = frozenset((component_of(job, rendered, clients.nomad),))
    prepared = prepare(app.loaded.config, rendered, clients, component, app.ui.finding, adopt=job)
    app.ui.say(_plan_text(prepared, most=1000))
    _refuse_useless_proofs(app, prepared)
    _confirm(app, yes)
    _await_programs(app, prepared)
    carry_out(prepared, Tools(clients.nomad, clients.consul, app.ui.event, timeout))
    changes = [change.name for change in prepared.plan.effective]
    losses = [asdict(finding) for finding in prepared.losses]
    text = f"{job} belongs to stack {rendered.stack} now."
    app.ui.result("adopt", {"job": job, "changes": changes, "losses": losses}, text)


def _rendered(app: App) -> Rendered:
    from obsctl.cli import wire
    from obsctl.stack.deployment import render_checked

    return render_checked(app.loaded, wire.check_tools(app.loaded, app.ui.finding), app.ui.finding)


def _prepared(app: App, components: tuple[str, ...]) -> tuple[Prepared, Clients]:
    from obsctl.cli import wire
    from obsctl.stack.deployment import prepare

    rendered = _rendered(app)
    _refuse_unknown(components, {job.component for job in rendered.jobs})
    clients = wire.clients(app.loaded.config)
    return prepare(app.loaded.config, rendered, clients, frozenset(components), app.ui.finding), clients


def _refuse_useless_proofs(app: App, prepared: Prepared) -> None:
    """A program with a wrong token or certificate may pass its checks, and be blind: Prometheus keeps the targets that
    it knew. So new ones are tried before programs get them."""
    from obsctl.cli.doctor import site_of
    from obsctl.doctor import certificates, programs
    from obsctl.stack.deployment import refuse_errors

    if any(change.kind == "variable" for change in prepared.plan.effective):
        site = site_of(app)
        findings = [*programs.tokens(site), *certificates.shown(site)]
        title = "the stack's programs cannot prove who they are; nothing was changed"
        refuse_errors(title, findings, lambda _: None, "obsctl doctor shows all that stands in the way")


def _refuse_unknown(components: tuple[str, ...], known: set[str]) -> None:
    unknown = sorted(set(components) - known)
    if unknown:
        raise click.UsageError(f"no component {', '.join(unknown)}; there are {', '.join(sorted(known))}")


def _confirm(app: App, yes: bool) -> None:
    if not yes:
        unasked = "this would change the cluster, and nobody can be asked"
        app.confirm("Apply this plan?", unasked=unasked, declined="nothing was changed")


def _await_programs(app: App, prepared: Prepared) -> None:
    """Wait for the programs of the jobs: a local cluster may run before it has all of them."""
    from obsctl.cli import wire
    from obsctl.doctor.here import commands

    cluster = wire.local_cluster(app.loaded.config)
    if cluster:
        cluster.await_programs(set().union(*map(commands, prepared.jobs_to_start())), app.ui.event)


def _write(folder: Path, texts: dict[str, str]) -> None:
    """For their owner alone: addresses, names of services and accounts stand in them."""
    for name, text in texts.items():
        target = folder / name
        try:
            files.private_folder(target.parent)
            files.write(target, text)
        except OSError as error:
            raise ObsctlError(f"cannot write {target}: {error.strerror}", hint="choose another DIR") from error


_MARKS = {"create": "+", "update": "~", "stop": "-", "none": "="}


def _plan_text(prepared: Prepared, most: int = 6) -> str:
    """most: how many details of one change are shown."""
    changes = prepared.plan
    lines = [f"Stack {changes.stack}"]
    for change in changes.effective:
        lines.append(f"  {_MARKS[change.action]} {change.action:6} {change.kind:8} {change.shown}  ({change.reason})")
        lines += [f"        {detail}" for detail in _details(change.details, most)]
        lines += ["        what runs of it now is replaced"] * change.replaces
    lines += [f"  ! {finding.where}: {finding.what}\n        {finding.hint}" for finding in prepared.losses]
    counts = changes.counts()
    summary = "{create} to create, {update} to update, {stop} to stop, {none} unchanged".format(**counts)
    lines.append(f"Plan: {summary}." if changes.effective else f"Nothing to change: {counts['none']} as desired.")
    return "\n".join(lines)


def _details(details: tuple[str, ...], most: int) -> list[str]:
    shown = list(details[:most])
    return [*shown, f"… and {len(details) - most} more"] if len(details) > most else shown
