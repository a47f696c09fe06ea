"""From the configuration to the clients a command needs. Nothing here is kept: a command builds and passes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from obsctl import files
from obsctl.clients import connect
from obsctl.clients.programs import Clients, Programs
from obsctl.clients.protocols import LogsApi, RegistryApi
from obsctl.config.environment import variable_of
from obsctl.config.schema import Config
from obsctl.config.secrets import SecretRef, resolve
from obsctl.errors import ObsctlError
from obsctl.model import Finding, Severity

if TYPE_CHECKING:
    from obsctl.config.load import Loaded
    from obsctl.local.cluster import LocalCluster

_NOT_RUN = "only `obsctl dev` runs programs that obsctl.yaml names; here the one on PATH or in the cache is taken"


def clients(config: Config) -> Clients:
    nomad = connect.nomad(config.nomad, token=_token(config.nomad.token, "nomad.token"))
    consul = connect.consul(config.consul, token=_token(config.consul.token, "consul.token"))
    return Clients(nomad, consul, Programs(config.stack, nomad, consul))


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


def check_tools(loaded: Loaded, report: Callable[[Finding], None]) -> dict[str, Path | None]:
    """The programs that check configuration, where they are at hand. What is passed over is reported.

    Those that obsctl.yaml names are run only where it is trusted: a command may be typed in anybody's folder.
    """
    from obsctl.local.binaries import Binaries
    from obsctl.stack.checks import TOOLS

    folder = loaded.path.parent if loaded.path else loaded.root
    configured = loaded.config.servers
    if not files.is_trusted(folder):
        configured = {}
        for name in set(TOOLS) & set(loaded.config.servers):
            if not os.environ.get(variable_of(("servers", name))):
                report(Finding(Severity.WARNING, f"servers.{name}", _NOT_RUN, files.way_to_trust(folder)))
    searches = {name: Binaries(configured=configured).search(name) for name in TOOLS}
    for name, search in searches.items():
        for remark in search.remarks:
            report(Finding(Severity.WARNING, name, remark))
    return {name: search.program.path if search.program else None for name, search in searches.items()}
