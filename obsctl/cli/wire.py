"""From the configuration to the clients a command needs. Nothing here is kept: a command builds and passes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from obsctl import files
from obsctl.clients import connect
from obsctl.clients.programs import Clients, Programs
from obsctl.clients.protocols import AgentApi, LogsApi, RegistryApi
from obsctl.config.environment import variable_of
from obsctl.config.schema import Config
from obsctl.config.secrets import SecretRef, resolve
from obsctl.errors import ObsctlError
from obsctl.model import Finding, Severity
from obsctl.state import STACKS_FILE, local_cluster_folder

if TYPE_CHECKING:
    from obsctl.config.load import Loaded
    from obsctl.doctor.site import Logins
    from obsctl.local.cluster import LocalCluster

_NOT_RUN = "only `obsctl dev` runs programs that obsctl.yaml names; here the one on PATH or in the cache is taken"


def clients(config: Config) -> Clients:
    _check_admitted(config)
    tokens = _operator_tokens(config)
    nomad = connect.nomad(config.nomad, token=tokens["nomad"])
    consul = connect.consul(config.consul, token=tokens["consul"])
    return Clients(nomad, consul, Programs(config.stack, nomad, consul))


def logins(config: Config) -> Logins:
    """The servers by other tokens than the operator's, and their ACLs by that one."""
    from obsctl.doctor.site import Logins

    own = _operator_tokens(config)
    return Logins(
        lambda token: connect.nomad(config.nomad, token=token),
        lambda token: connect.consul(config.consul, token=token),
        connect.nomad_acl(config.nomad, token=own["nomad"]),
        connect.consul_acl(config.consul, token=own["consul"]),
        partial(_by_certificate, config),
    )


def _by_certificate(config: Config, name: str, cert_file: str, key_file: str) -> AgentApi:
    own = {"cert_file": cert_file, "key_file": key_file}
    if name == "nomad":
        nomad = config.nomad
        return connect.nomad(nomad.model_copy(update={"tls": nomad.tls.model_copy(update=own)}))
    consul = config.consul
    return connect.consul(consul.model_copy(update={"tls": consul.tls.model_copy(update=own)}))


def log_store(config: Config, programs: Programs) -> LogsApi:
    """Raises ObsctlError when it is not registered in Consul, or is another store than VictoriaLogs."""
    if config.logs.endpoint:
        hint = "look there or in Grafana; obsctl logs COMPONENT reads what Nomad has"
        raise ObsctlError(f"lines go to {config.logs.endpoint}, from which obsctl cannot read", hint=hint)
    return programs.logs


def registries(config: Config) -> Callable[[str], RegistryApi]:
    """Makes the client of the image registry with a host's name."""
    password = secret_of(config.images.password, "images.password")
    return lambda host: connect.registry(host, config.images, password=password)


def secret_of(reference: SecretRef | None, key: str) -> str | None:
    if reference is None:
        return None
    return resolve(reference, key=key, environ=os.environ, read_variable=lambda _: None).reveal()


def _operator_tokens(config: Config) -> dict[str, str | None]:
    references = {"nomad": config.nomad.token, "consul": config.consul.token}
    return {server: secret_of(reference, f"{server}.token") for server, reference in references.items()}


def _check_admitted(config: Config) -> None:
    """The tokens of the local cluster have rights for the stacks that its `dev up` saw."""
    token = config.nomad.token
    admitted = Path(token.target).parent / STACKS_FILE if token and token.kind == "file" else None
    if admitted and admitted.exists() and config.stack not in json.loads(files.read(admitted)):
        hint = "obsctl dev up gives them, also while the cluster runs; those of other stacks stay"
        raise ObsctlError(f"the local cluster has given the stack {config.stack} no rights", hint=hint)


def local_cluster(config: Config) -> LocalCluster | None:
    """The local cluster, if the configuration is of it."""
    from obsctl.local.cluster import LocalCluster

    cluster = LocalCluster(local_cluster_folder())
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
