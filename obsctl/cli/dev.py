"""`obsctl dev`: the local cluster."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.cli.dev_binaries import binaries
from obsctl.cli.dev_node import node
from obsctl.cli.options import Group, state_dir_option
from obsctl.errors import ObsctlError
from obsctl.local.machines import MOST_CLIENTS
from obsctl.state import local_cluster_folder

if TYPE_CHECKING:
    from obsctl.local.agents import Addresses
    from obsctl.local.cluster import LocalCluster
    from obsctl.local.control import AgentStatus

HEADERS = ("AGENT", "STATE", "PID", "ADDRESS", "UPTIME")


@click.group(cls=Group)
def dev() -> None:
    """A real Nomad and Consul on this machine: one node on 127.0.0.1, or several.

    A Consul agent, a Nomad server and a Nomad client that runs jobs with raw_exec. Nothing can be reached from outside,
    every call wants a token, which obsctl finds by itself, and the state survives down and up. With --nodes there are
    three servers and so many clients, each in a network namespace that stands for a machine.

    Example: obsctl dev up && eval "$(obsctl dev env)"
    """


dev.add_command(binaries)
dev.add_command(node)


@dev.command()
@state_dir_option
@click.option("--auto-ports", is_flag=True, help="Choose free ports instead of the well-known ones.")
@click.option("--tls", is_flag=True, help="Mutual TLS from now on, by an authority of the cluster's own.")
@click.option("--nodes", type=click.IntRange(1, MOST_CLIENTS), help="Client machines, beside three servers (on Linux).")
@click.pass_obj
def up(app: App, state_dir: Path | None, auto_ports: bool, tls: bool, nodes: int | None) -> None:
    """Start the cluster, and return when a job can be placed.

    Agents that already run are left alone. Jobs from before the last `down` come back.

    Example: obsctl dev up --auto-ports
    """
    from obsctl.local.acls import Tenant
    from obsctl.stack.storage import host_volumes

    cluster, config = _cluster(state_dir), app.loaded.config
    volumes = host_volumes(config)
    addresses = cluster.up(
        servers=config.servers,
        host_volumes=volumes,
        auto_ports=auto_ports,
        tenant=Tenant(config.stack, config.nomad.namespace),
        tls=tls,
        nodes=nodes,
        emit=app.ui.event,
    )
    document = {"state_dir": str(cluster.folder.path), "nomad": addresses.nomad, "consul": addresses.consul}
    env = f"obsctl dev env --state-dir {shlex.quote(str(state_dir))}" if state_dir else "obsctl dev env"
    text = f'Nomad {addresses.nomad}, Consul {addresses.consul}. For your shell: eval "$({env})"'
    app.ui.result("dev-up", document, text)
    _tell_what_leads_elsewhere(app, cluster, addresses, env)


@dev.command()
@state_dir_option
@click.option("--purge", is_flag=True, help="Remove the state folder too: jobs, keys, data, logs.")
@click.option("--yes", is_flag=True, help="Do not ask before --purge removes the folder.")
@click.pass_obj
def down(app: App, state_dir: Path | None, purge: bool, yes: bool) -> None:
    """Stop the agents and the processes of their jobs, and nothing else.

    Example: obsctl dev down --purge
    """
    cluster = _cluster(state_dir)
    folder = cluster.folder.path
    if purge and not yes:
        _confirm(app, folder)
    cluster.down(app.ui.event, purge=purge)
    state = "its state is removed" if purge else f"its state stays in {folder} (dev down --purge removes it)"
    app.ui.result("dev-down", {"state_dir": str(folder), "purged": purge}, f"The cluster is down; {state}.")


@dev.command()
@state_dir_option
@click.pass_context
def status(ctx: click.Context, state_dir: Path | None) -> None:
    """Show the agents; exit 0 when all run, else 1.

    Example: obsctl dev status
    """
    from obsctl.model import Finding

    app: App = ctx.obj
    cluster = _cluster(state_dir)
    agents = cluster.status()
    keys = ("name", "pid", "address", "uptime", "link")
    listed = [{key: getattr(agent, key) for key in keys} for agent in agents]
    table = app.ui.table(HEADERS, [_status_row(agent) for agent in agents])
    foreign = cluster.control.network.foreign_ports()
    document = {"state_dir": str(cluster.folder.path), "agents": listed, "foreign_ports": foreign}
    app.ui.result("dev-status", document, table)
    for place in foreign:
        what = "another program of this machine listens there, and not the cluster's: what answers is a stranger"
        app.ui.finding(Finding.warning(place, what, "end that program, or run the cluster as root"))
    ctx.exit(0 if all(agent.pid for agent in agents) else 1)


@dev.command()
@state_dir_option
@click.pass_obj
def env(app: App, state_dir: Path | None) -> None:
    """Print the variables with which nomad, consul and obsctl use this cluster, tokens too, and a PATH with programs.

    Example: eval "$(obsctl dev env)"
    """
    cluster = _cluster(state_dir)
    if not cluster.is_up():
        raise ObsctlError(f"the cluster in {cluster.folder.path} is not up", hint="obsctl dev up starts it")
    exports = cluster.access.exports(cluster.addresses)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    lines.append(f'export PATH={shlex.quote(str(cluster.folder.bin))}:"$PATH"')
    app.ui.result("dev-env", {"env": exports}, "\n".join(lines))


@dev.command()
@state_dir_option
@click.argument("agent", required=False)
@click.option("-n", "--lines", default=20, show_default=True, type=click.IntRange(min=1), help="Lines of each log.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.pass_obj
def logs(app: App, state_dir: Path | None, agent: str | None, lines: int, follow: bool) -> None:
    """Show the end of the agents' logs: of one AGENT by its name in `obsctl dev status`, or of all.

    Example: obsctl dev logs nomad-client -n 50
    """
    from obsctl.local.logs import follow_all, last_lines

    cluster = _cluster(state_dir)
    names = [known.name for known in cluster.control.agents]
    if agent and agent not in names:
        raise ObsctlError(f"the cluster has no agent {agent}", hint=f"it has {', '.join(names)}")
    files = {name: cluster.folder.log(name) for name in ([agent] if agent else names)}
    ends = {name: last_lines(path, lines) for name, path in files.items()}
    text = "\n\n".join("\n".join([f"==> {name} <==", *end]) for name, end in ends.items())
    app.ui.result("dev-logs", {"logs": ends}, text)
    if follow and not app.ui.as_json:
        for name, line in follow_all(files):
            app.ui.say(f"{name}: {line}")


def _tell_what_leads_elsewhere(app: App, cluster: LocalCluster, addresses: Addresses, env: str) -> None:
    """obsctl.yaml or a variable may have other addresses than those of the cluster that is up now."""
    from obsctl.model import Finding

    config = replace(app).loaded.config  # read again: before, the cluster was not there
    servers = (("nomad", config.nomad.address, addresses.nomad), ("consul", config.consul.address, addresses.consul))
    for name, configured, own in servers:
        if configured.rstrip("/") not in {own, *cluster.control.running()}:
            what = f"is {configured} for obsctl, and this cluster's is {own}"
            hint = (
                f'eval "$({env})" leads your shell to this cluster; where nothing sets the key, obsctl finds it itself'
            )
            app.ui.finding(Finding.warning(f"{name}.address", what, hint))


def _cluster(state_dir: Path | None) -> LocalCluster:
    from obsctl.local.cluster import LocalCluster

    return LocalCluster(state_dir or local_cluster_folder())


def _confirm(app: App, folder: Path) -> None:
    if not app.ui.is_interactive():
        raise ObsctlError(f"--purge removes {folder}, and nobody can be asked", hint="add --yes")
    click.confirm(f"Remove {folder} with the cluster's jobs, keys, data and logs?", abort=True, err=True)


def _status_row(agent: AgentStatus) -> list[str]:
    from obsctl.config.durations import format_duration

    if agent.pid is None:
        return [agent.name, agent.link or "stopped", "-", agent.address, "-"]
    state = f"running, {agent.link}" if agent.link else "running"
    return [agent.name, state, str(agent.pid), agent.address, format_duration(int(agent.uptime or 0))]
