"""From the configuration to the clients a command needs. Nothing here is kept: a command builds and passes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from obsctl.clients import connect
from obsctl.clients.programs import Clients, Programs
from obsctl.clients.protocols import LogsApi, RegistryApi
from obsctl.config.schema import Config
from obsctl.config.secrets import SecretRef, resolve
from obsctl.errors import ObsctlError

if TYPE_CHECKING:
    from obsctl.local.cluster import LocalCluster


def clients(config: Config) -> Clients:
    nomad = connect.nomad(config.nomad, token=_token(config.nomad.token, "nomad.token"))
    consul = connect.consul(config.consul, token=_token(config.consul.token, "consul.token"))
    return Clients(nomad, consul, Programs(config.stack, consul))


def log_store(config: Config, programs: Programs) -> LogsApi:
    """Raises ObsctlError when it is not registered in Consul, or is another store than VictoriaLogs."""
    if config.logs.endpoint:
        hint = "look there or in Grafana; obsctl logs COMPONENT reads what Nomad has"
        raise ObsctlError(f"lines go to {config.logs.endpoint}, from which obsctl cannot read", hint=hint)
    return programs.logs


def registries(config: Config) -> Callable[[str], RegistryApi]:
    """Makes the client of the image registry with a host's name."""
    password = _token(config.images.password, "images.password")
    return lambda host: connect.registry(host, config.images, password=password)


def _token(reference: SecretRef | None, key: str) -> str | None:
    if reference is None:
        return None
    return resolve(reference, key=key, environ=os.environ, read_variable=lambda _: None).reveal()


def local_cluster(config: Config) -> LocalCluster | None:
    """The local cluster, if the configuration is of it."""
    from obsctl.local.cluster import LocalCluster
    from obsctl.local.folder import default_state_dir

    cluster = LocalCluster(Path(os.environ.get("OBSCTL_DEV_STATE_DIR") or default_state_dir()))
    is_meant = cluster.folder.is_ours() and cluster.addresses.nomad == config.nomad.address.rstrip("/")
    return cluster if is_meant else None


def check_tools(config: Config) -> dict[str, Path | None]:
    """The programs that check configuration, where they are at hand."""
    from obsctl.local.binaries import find
    from obsctl.stack.checks import TOOLS

    return {name: find(name, config.servers) for name in TOOLS}
