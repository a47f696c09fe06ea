"""`obsctl dev`: the local cluster."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.cli.dev_binaries import binaries
from obsctl.cli.options import Command, Group
from obsctl.errors import ObsctlError

if TYPE_CHECKING:
    from obsctl.local.cluster import AgentStatus, LocalCluster

AGENTS = ("consul", "nomad-server", "nomad-client")
HEADERS = ("AGENT", "STATE", "PID", "ADDRESS", "UPTIME")


def state_dir_option(command: Command) -> Command:
    return click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        envvar="OBSCTL_DEV_STATE_DIR",
        help="Where the cluster keeps its state; default: ~/.local/state/obsctl/dev.",
    )(command)


@click.group(cls=Group)
def dev() -> None:
    """A real one-node Nomad and Consul on 127.0.0.1.

    A Consul agent, a Nomad server and a Nomad client that runs jobs with raw_exec. Nothing can be reached from outside,
    and the state survives down and up.

    Example: obsctl dev up && eval "$(obsctl dev env)"
    """


dev.add_command(binaries)


@dev.command()
@state_dir_option
@click.option("--auto-ports", is_flag=True, help="Choose free ports instead of the well-known ones.")
@click.pass_obj
def up(app: App, state_dir: Path | None, auto_ports: bool) -> None:
    """Start the cluster, and return when a job can be placed.

    Agents that already run are left alone. Jobs from before the last `down` come back.

    Example: obsctl dev up --auto-ports
    """
    from obsctl.stack.storage import host_volumes

    cluster, config = _cluster(state_dir), app.loaded.config
    volumes = host_volumes(config)
    addresses = cluster.up(servers=config.servers, host_volumes=volumes, auto_ports=auto_ports, emit=app.ui.event)
    document = {"state_dir": str(cluster.folder.path), "nomad": addresses.nomad, "consul": addresses.consul}
    text = f'Nomad {addresses.nomad}, Consul {addresses.consul}. For your shell: eval "$(obsctl dev env)"'
    app.ui.result("dev-up", document, text)


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
    state = "its state is removed" if purge else f"its state stays in {folder}"
    app.ui.result("dev-down", {"state_dir": str(folder), "purged": purge}, f"The cluster is down; {state}.")


@dev.command()
@state_dir_option
@click.pass_context
def status(ctx: click.Context, state_dir: Path | None) -> None:
    """Show the agents; exit 0 when all run, else 1.

    Example: obsctl dev status
    """
    app: App = ctx.obj
    cluster = _cluster(state_dir)
    agents = cluster.status()
    keys = ("name", "pid", "address", "uptime")
    listed = [{key: getattr(agent, key) for key in keys} for agent in agents]
    table = app.ui.table(HEADERS, [_status_row(agent) for agent in agents])
    app.ui.result("dev-status", {"state_dir": str(cluster.folder.path), "agents": listed}, table)
    ctx.exit(0 if all(agent.pid for agent in agents) else 1)


@dev.command()
@state_dir_option
@click.pass_obj
def env(app: App, state_dir: Path | None) -> None:
    """Print the variables with which nomad, consul and obsctl use this cluster, and a PATH with its programs.

    Example: eval "$(obsctl dev env)"
    """
    cluster = _cluster(state_dir)
    if not all(agent.pid for agent in cluster.status()):
        raise ObsctlError(f"the cluster in {cluster.folder.path} does not run", hint="obsctl dev up starts it")
    exports = cluster.addresses.exports()
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    lines.append(f'export PATH={shlex.quote(str(cluster.folder.bin))}:"$PATH"')
    app.ui.result("dev-env", {"env": exports}, "\n".join(lines))


@dev.command()
@state_dir_option
@click.argument("agent", required=False, type=click.Choice(AGENTS))
@click.option("-n", "--lines", default=20, show_default=True, type=click.IntRange(min=1), help="Lines of each log.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.pass_obj
def logs(app: App, state_dir: Path | None, agent: str | None, lines: int, follow: bool) -> None:
    """Show the end of the agents' logs.

    Example: obsctl dev logs nomad-client -n 50
    """
    from obsctl.local.logs import follow_all, last_lines

    cluster = _cluster(state_dir)
    files = {name: cluster.folder.log(name) for name in ([agent] if agent else AGENTS)}
    ends = {name: last_lines(path, lines) for name, path in files.items()}
    text = "\n\n".join("\n".join([f"==> {name} <==", *end]) for name, end in ends.items())
    app.ui.result("dev-logs", {"logs": ends}, text)
    if follow and not app.ui.as_json:
        for name, line in follow_all(files):
            app.ui.say(f"{name}: {line}")


def _cluster(state_dir: Path | None) -> LocalCluster:
    from obsctl.local.cluster import LocalCluster
    from obsctl.local.folder import default_state_dir

    return LocalCluster(state_dir or default_state_dir())


def _confirm(app: App, folder: Path) -> None:
    if not app.ui.is_interactive():
        raise ObsctlError(f"--purge removes {folder}, and nobody can be asked", hint="add --yes")
    click.confirm(f"Remove {folder} with the cluster's jobs, keys, data and logs?", abort=True, err=True)


def _status_row(agent: AgentStatus) -> list[str]:
    from obsctl.config.durations import format_duration

    if agent.pid is None:
        return [agent.name, "stopped", "-", agent.address, "-"]
    return [agent.name, "running", str(agent.pid), agent.address, format_duration(int(agent.uptime or 0))]
