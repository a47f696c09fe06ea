"""`obsctl serve`: the programs that run on the cluster. Nomad jobs start them; the options come from the jobs."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import click

from obsctl import names
from obsctl.cli.options import Command, Group, as_server
from obsctl.errors import ObsctlError

if TYPE_CHECKING:
    from obsctl.clients.protocols import ConsulApi, NomadApi

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
NEEDED = ("flask", "opentelemetry", "prometheus_client", "pybreaker", "tenacity", "waitress")


@click.group(cls=Group)
def serve() -> None:
    """Run one of the programs that obsctl puts on the cluster, until SIGTERM or Ctrl-C.

    Example: openssl rand -hex 16 > secret && obsctl serve alert-sink --data-dir alerts --secret-file secret
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ObsctlError(
            f"the programs for the cluster need {', '.join(missing)}, which this installation does not have",
            hint="pip install 'obsctl[demo]'",
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


def listens(port: int) -> Callable[[Command], Command]:
    """The options of a program that listens."""
    return _together(
        click.option("--bind", default="127.0.0.1", show_default=True, envvar="OBSCTL_BIND", metavar="ADDRESS",
                     help="Address to listen on; 0.0.0.0 is all of them."),
        click.option("--port", type=click.IntRange(0, 65535), default=port, show_default=True, envvar="OBSCTL_PORT",
                     help="Port to listen on; 0 takes a free one."),
    )  # fmt: skip


# Tokens come from the environment alone, never from argv; certificates as the programs nomad and consul take them.
reads_consul = _together(
    click.option("--consul", "consul_address", default="http://127.0.0.1:8500", show_default=True, metavar="URL",
                 callback=as_server, envvar="CONSUL_HTTP_ADDR",
                 help="Consul's HTTP API. A token is taken from CONSUL_HTTP_TOKEN, files for TLS from CONSUL_CACERT, "
                      "CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY."),
)  # fmt: skip
reads_nomad = _together(
    click.option("--nomad", "nomad_address", default="http://127.0.0.1:4646", show_default=True, metavar="URL",
                 callback=as_server, envvar="NOMAD_ADDR",
                 help="Nomad's HTTP API. A token is taken from NOMAD_TOKEN, files for TLS from NOMAD_CACERT, "
                      "NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY."),
    click.option("--nomad-socket", type=click.Path(path_type=Path), metavar="PATH",
                 help="The socket of Nomad's Task API, which is used instead of --nomad where it is there."),
)  # fmt: skip


def _consul(address: str) -> ConsulApi:
    from obsctl.demo.discovery import consul_at

    return consul_at(address, token=os.environ.get("CONSUL_HTTP_TOKEN"), **_certificates("CONSUL"))


def _certificates(prefix: str) -> dict[str, str | None]:
    """The files that the environment names for TLS, by the variables of the nomad or consul program."""
    variables = {"ca_file": "CACERT", "cert_file": "CLIENT_CERT", "key_file": "CLIENT_KEY"}
    return {key: os.environ.get(f"{prefix}_{variable}") for key, variable in variables.items()}


@serve.command(names.ALERT_SINK)
@listens(8099)
@click.option("--data-dir", type=FOLDER, required=True, envvar="OBSCTL_DATA_DIR",
              help="Folder that keeps the notifications.")  # fmt: skip
@click.option("--heartbeat", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True,
              envvar="OBSCTL_HEARTBEAT", metavar="SECONDS",
              help="How often the Watchdog is delivered; after three missed ones it counts as silent.")  # fmt: skip
@click.option("--secret-file", type=FILE, required=True,
              help="File with the secret that each delivery carries as its password.")  # fmt: skip
@click.option("--host", "hosts", multiple=True, metavar="NAME",
              help="A name by which people ask for it, such as that of a proxy. Repeatable.")  # fmt: skip
@click.option("--stack", default="obs", show_default=True, help="The stack's name, for those who are told.")
@click.option("--silence-webhook-file", "silence_webhook", type=FILE,
              help="File with the URL that is told when the heartbeat stops, and when it is back.")  # fmt: skip
def alert_sink(
    bind: str,
    port: int,
    data_dir: Path,
    heartbeat: float,
    secret_file: Path,
    hosts: tuple[str, ...],
    stack: str,
    silence_webhook: Path | None,
) -> None:
    """Take Alertmanager's webhook, keep what comes in, and show it.

    Example: openssl rand -hex 16 > secret && obsctl serve alert-sink --data-dir alerts --secret-file secret
    """
    from obsctl.services import alert_sink as service
    from obsctl.services.access import Access

    service.run(
        bind=bind, port=port, data_dir=data_dir, heartbeat=heartbeat,
        access=Access(secret_file, hosts), stack=stack, silence_webhook=silence_webhook,
    )  # fmt: skip


of_stack = click.option("--stack", help="Call only what this stack runs.", metavar="NAME")


@serve.command(names.HELLO_SERVICE)
@listens(5050)
@reads_consul
@of_stack
def hello_service(bind: str, port: int, consul_address: str, stack: str | None) -> None:
    """The demo's front: GET /hello asks response-service for a phrase.

    Example: obsctl serve hello-service --consul http://127.0.0.1:8500
    """
    from obsctl.demo import hello

    hello.run(bind=bind, port=port, consul=_consul(consul_address), stack=stack)


@serve.command(names.RESPONSE_SERVICE)
@listens(6060)
@reads_consul
@click.option("--fixed", is_flag=True, help="Without the planted bug of docs/tutorial-find-the-bug.md.")
def response_service(bind: str, port: int, consul_address: str, fixed: bool) -> None:
    """The demo's back: GET /phrase takes one from the Consul key minion_phrases.

    Example: obsctl serve response-service --consul http://127.0.0.1:8500 --fixed
    """
    from obsctl.demo import response

    response.run(bind=bind, port=port, consul=_consul(consul_address), fixed=fixed)


@serve.command("traffic")
@listens(5051)
@reads_consul
@of_stack
@click.option("--rate", type=click.FloatRange(min=0, min_open=True, max=100), default=4.0, show_default=True,
              envvar="OBSCTL_RATE", metavar="PER_SECOND", help="Requests a second.")  # fmt: skip
def traffic(bind: str, port: int, consul_address: str, stack: str | None, rate: float) -> None:
    """Call hello-service steadily.

    Example: obsctl serve traffic --rate 10
    """
    from obsctl.demo import traffic as program

    program.run(bind=bind, port=port, consul=_consul(consul_address), stack=stack, rate=rate)


def _nomad(address: str, socket: Path | None, namespace: str = "default") -> NomadApi:
    """By the Task API's socket, where Nomad made one: a path of more than 107 bytes is too long for it."""
    from obsctl.clients import connect
    from obsctl.config.api_servers import NomadServer, Tls

    if socket and socket.is_socket():
        return connect.task_api(str(socket), namespace, token=os.environ.get("NOMAD_TOKEN"))
    tls, region = Tls.model_validate(_certificates("NOMAD")), os.environ.get("NOMAD_REGION")
    server = NomadServer(address=address, namespace=namespace, region=region, tls=tls)
    return connect.nomad(server, token=os.environ.get("NOMAD_TOKEN"), origin="NOMAD_TOKEN")


@serve.command(names.LOG_LINKS)
@listens(8097)
@reads_nomad
@click.option("--node", "node_id", required=True, envvar="NODE_ID", help="The id of the Nomad node it runs on.")
@click.option(
    "--allocations", type=FOLDER, required=True, help="The folder of the node's allocations: the client's alloc_dir."
)
@click.option("--alloc-id", required=True, envvar="NOMAD_ALLOC_ID",
              help="The allocation it belongs to, in whose folder it puts its tree.")  # fmt: skip
def log_links(
    bind: str,
    port: int,
    nomad_address: str,
    nomad_socket: Path | None,
    node_id: str,
    allocations: Path,
    alloc_id: str,
) -> None:
    """Name the log files of this node's allocations, for the collector that reads them.

    Example: obsctl serve log-links --node "$ID" --allocations /opt/nomad/data/alloc --alloc-id "$NOMAD_ALLOC_ID"
    """
    from obsctl.services import log_links as service

    # A node's allocations are those of all namespaces, whichever is asked.
    nomad, folder = _nomad(nomad_address, nomad_socket), Path(os.path.normpath(allocations))
    service.run(nomad, node_id, allocations=folder, alloc_id=alloc_id, bind=bind, port=port)


@serve.command("warden")
@listens(8098)
@reads_consul
@reads_nomad
@click.option("--namespace", default="default", show_default=True, envvar="NOMAD_NAMESPACE", help="Nomad's namespace.")
@click.option("--stack", required=True, help="The stack whose drills it looks after.")
def warden(
    bind: str,
    port: int,
    consul_address: str,
    nomad_address: str,
    nomad_socket: Path | None,
    namespace: str,
    stack: str,
) -> None:
    """Put back what a drill left behind when obsctl died. The key of its recipes comes from WARDEN_RECIPE_KEY.

    Example: WARDEN_RECIPE_KEY="$KEY" obsctl serve warden --stack obs
    """
    from obsctl.clients import connect
    from obsctl.config.api_servers import ConsulServer, Tls
    from obsctl.config.secrets import Secret
    from obsctl.drills.world import Cluster
    from obsctl.services import warden as service

    secret = Secret(os.environ.get("WARDEN_RECIPE_KEY", ""))
    if not secret.reveal():
        what = "WARDEN_RECIPE_KEY is not set, and without it no recipe can be told from a forged one"
        raise ObsctlError(what, hint="the job of obsctl deploy sets it, from its Nomad Variable")
    consul = ConsulServer(address=consul_address, tls=Tls.model_validate(_certificates("CONSUL")))
    client = connect.consul(consul, token=os.environ.get("CONSUL_HTTP_TOKEN"), origin="CONSUL_HTTP_TOKEN")
    cluster = Cluster(stack, namespace, _nomad(nomad_address, nomad_socket, namespace), client, secret)
    service.run(cluster, bind=bind, port=port)
