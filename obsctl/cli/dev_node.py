"""`obsctl dev node`: what happens to one machine of a local cluster that has several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from obsctl.cli.app import App
from obsctl.cli.options import Group, state_dir_option
from obsctl.state import local_cluster_folder

if TYPE_CHECKING:
    from obsctl.local.nodes import Nodes

MOST_DELAY = 10_000


@click.group(cls=Group)
def node() -> None:
    """Stop, kill, start, cut off, join again or slow down one machine.

    For a cluster of `obsctl dev up --nodes N`, whose machines are server-1 to server-3 and client-1 to client-N.

    Example: obsctl dev node kill client-2
    """


@node.command()
@state_dir_option
@click.argument("name")
@click.pass_obj
def stop(app: App, state_dir: Path | None, name: str) -> None:
    """Shut a machine down: its agents and tasks end in order.

    Example: obsctl dev node stop client-2
    """
    _change(app, state_dir, "stop", name, lambda nodes: nodes.stop(name), "is shut down")


@node.command()
@state_dir_option
@click.argument("name")
@click.pass_obj
def kill(app: App, state_dir: Path | None, name: str) -> None:
    """Take a machine's power away: its agents and tasks are gone at once.

    Example: obsctl dev node kill client-2
    """
    _change(app, state_dir, "kill", name, lambda nodes: nodes.kill(name), "has lost its power")


@node.command()
@state_dir_option
@click.argument("name")
@click.pass_obj
def start(app: App, state_dir: Path | None, name: str) -> None:
    """Start a machine that was stopped or killed, and return when its agents are ready.

    Example: obsctl dev node start client-2
    """
    _change(app, state_dir, "start", name, lambda nodes: nodes.start(name), "runs")


@node.command()
@state_dir_option
@click.argument("name")
@click.pass_obj
def cut(app: App, state_dir: Path | None, name: str) -> None:
    """Cut a machine off: it runs on, and nobody reaches it.

    Example: obsctl dev node cut client-2
    """
    _change(app, state_dir, "cut", name, lambda nodes: nodes.cut(name), "is cut off")


@node.command()
@state_dir_option
@click.argument("name")
@click.pass_obj
def join(app: App, state_dir: Path | None, name: str) -> None:
    """Join a machine again that was cut off.

    Example: obsctl dev node join client-2
    """
    _change(app, state_dir, "join", name, lambda nodes: nodes.join(name), "is joined")


@node.command()
@state_dir_option
@click.argument("name")
@click.argument("milliseconds", type=click.IntRange(0, MOST_DELAY))
@click.pass_obj
def delay(app: App, state_dir: Path | None, name: str, milliseconds: int) -> None:
    """Delay what goes to a machine and what comes from it, each way by so many MILLISECONDS; 0 ends that.

    Example: obsctl dev node delay client-2 200
    """
    state = f"is {milliseconds} ms away, each way" if milliseconds else "is as near as the others"
    _change(app, state_dir, "delay", name, lambda nodes: nodes.delay(name, milliseconds), state)


def _change(
    app: App, state_dir: Path | None, action: str, name: str, change: Callable[[Nodes], None], state: str
) -> None:
    from obsctl.local.cluster import LocalCluster
    from obsctl.local.nodes import Nodes

    cluster = LocalCluster(state_dir or local_cluster_folder())
    change(Nodes(cluster, app.ui.event))
    app.ui.result(f"dev-node-{action}", {"state_dir": str(cluster.folder.path), "node": name}, f"{name} {state}.")
