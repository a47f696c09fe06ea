"""Who may use the local cluster: its secrets, kept in the state folder for the owner alone.

Most secrets are chosen before the servers start, so an `up` that was interrupted is simply run again.
"""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from obsctl import files, names
from obsctl.config.api_servers import ConsulServer, NomadServer, Tls
from obsctl.local.agents import Addresses, Keys
from obsctl.local.authority import CLIENTS, PEOPLE, SERVERS, Authority
from obsctl.local.machines import CLIENT, Agent
from obsctl.model import Json
from obsctl.state import ACCESS_FILE, STACKS_FILE

PROGRAMS = (names.PROMETHEUS, names.WARDEN, "demo")
"""Those that have a token of Consul."""


@dataclass(frozen=True, slots=True)
class Access:
    """The secrets of the cluster whose state folder this is. Each lies in a file of its own below `access`."""

    state: Path

    @property
    def overlay(self) -> Path:
        """What obsctl lays under obsctl.yaml: the addresses of the cluster, and references to its tokens.

        It is there while the cluster is up: nobody else who listens on its ports afterwards is sent a token.
        """
        return self.state / ACCESS_FILE

    @property
    def authority(self) -> Authority:
        return Authority(self.state / "tls")

    def certificate(self, agent: Agent) -> Json | None:
        """The agent's; None where the cluster talks without TLS."""
        is_client = agent.kind == CLIENT or not agent.machine.is_server
        return self.authority.certificate(CLIENTS if is_client else SERVERS) if self.authority.exists else None

    def nomad_server(self, addresses: Addresses) -> NomadServer:
        """How to talk to Nomad, but for the token."""
        return NomadServer(address=addresses.nomad, tls=self._tls())

    def consul_server(self, addresses: Addresses) -> ConsulServer:
        """How to talk to Consul, but for the token."""
        return ConsulServer(address=addresses.consul, tls=self._tls())

    def _tls(self) -> Tls:
        return Tls(**self.authority.certificate(PEOPLE)) if self.authority.exists else Tls()

    def keys(self) -> Keys:
        """What the configuration of the agents needs; made at the first call."""
        return Keys(
            self._secret("consul-gossip-key", _gossip_key),
            self._secret("nomad-gossip-key", _gossip_key),
            self._secret("consul-management-token", _token),
            self.consul_token("nomad"),
        )

    def nomad_management(self) -> str:
        return self._secret("nomad-management-token", _token)

    def consul_management(self) -> str:
        return self.keys().consul_management

    def exports(self, addresses: Addresses) -> dict[str, str]:
        """The variables with which nomad, consul and obsctl use it: where it is, and the operator's tokens."""
        files_of = self.authority.exports("NOMAD") | self.authority.exports("CONSUL") if self.authority.exists else {}
        return {
            **files_of,
            "NOMAD_ADDR": addresses.nomad,
            "CONSUL_HTTP_ADDR": addresses.consul,
            "OBSCTL_DEV_STATE_DIR": str(self.state),
            "OBSCTL_NOMAD__ADDRESS": addresses.nomad,
            "OBSCTL_CONSUL__ADDRESS": addresses.consul,
            "NOMAD_TOKEN": _read(self.nomad_token),
            "CONSUL_HTTP_TOKEN": self.consul_token("operator"),
        }

    def consul_token(self, holder: str) -> str:
        """That of "operator", of Consul's "agent", or of a program."""
        return self._secret(_consul_file(holder), _token)

    @property
    def nomad_token(self) -> Path:
        """The operator's. Only Nomad chooses the secrets of its tokens."""
        return self._file("nomad-token")

    @property
    def warden_token(self) -> Path:
        """Of Nomad, where that takes no jobs of an identity."""
        return self._file("nomad-token-of-warden")

    @property
    def admitted(self) -> list[str]:
        """The stacks whose operator and programs have rights."""
        file = self._file(STACKS_FILE)
        return [str(stack) for stack in json.loads(_read(file))] if file.exists() else []

    def keep_admitted(self, stacks: list[str]) -> None:
        files.write(self._file(STACKS_FILE), json.dumps(stacks))

    def references(self) -> dict[str, str]:
        """The operator's tokens, as nomad.token and consul.token of obsctl.yaml want them."""
        return {"nomad": f"file:{self.nomad_token}", "consul": f"file:{self._file(_consul_file('operator'))}"}

    def publish(self, addresses: Addresses, on_node: Addresses, *, identities: bool) -> None:
        """Write the overlay. on_node: where a machine finds its own agents. identities: whether tasks have identities
        that Consul trusts."""
        addresses_of = {"nomad": addresses.nomad, "consul": addresses.consul}
        tokens = self.references()
        document: Json = {name: {"address": addresses_of[name], "token": tokens[name]} for name in tokens}
        document["consul"] |= {"node_address": on_node.consul, "workload_identity": identities}
        if not identities:
            document["nomad"]["tokens"] = {names.WARDEN: f"file:{self.warden_token}"}
            own = {program: f"file:{self._file(_consul_file(program))}" for program in PROGRAMS}
            document["consul"]["tokens"] = own
        if self.authority.exists:
            tls = {**self.authority.certificate(PEOPLE), "programs": self.authority.references()}
            document = {name: {**server, "tls": tls} for name, server in document.items()}
        files.write(self.overlay, json.dumps(document, indent=2) + "\n")

    def withdraw(self) -> None:
        """Remove the overlay."""
        self.overlay.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.state / "access" / name

    def _secret(self, name: str, make: Callable[[], str]) -> str:
        """The secret with this name, which is made if there is none."""
        file = self._file(name)
        if not file.exists():
            files.private_folder(file.parent)
            files.write(file, make())
        return _read(file)


def _read(file: Path) -> str:
    files.refuse_foreign(file)
    return files.read(file).decode()


def _consul_file(holder: str) -> str:
    return f"consul-token-of-{holder}"


def _token() -> str:
    return str(uuid.uuid4())  # from os.urandom


def _gossip_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()
