"""The local cluster's own authority, with `dev up --tls`: certificates for the agents, and for who uses them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from obsctl import children, files
from obsctl.errors import ObsctlError
from obsctl.model import Json

DAYS = "3650"
SERVERS, CLIENTS, PROGRAMS, PEOPLE = "server-consul-0", "client-consul-0", "cli-consul-0", "cli-consul-1"
_NAMES = {SERVERS: ["-additional-dnsname=server.global.nomad"], CLIENTS: ["-additional-dnsname=client.global.nomad"]}


@dataclass(frozen=True, slots=True)
class Authority:
    """The certificates in this folder. Keys are for their owner alone.

    They are made once. From then on, until the state folder is removed, the cluster talks by TLS alone.
    """

    folder: Path

    @property
    def exists(self) -> bool:
        return (self.folder / _file(PEOPLE)).exists()

    @property
    def ca(self) -> Path:
        return self.folder / "consul-agent-ca.pem"

    def ca_text(self) -> str:
        """Its certificate; "" where the cluster talks without TLS."""
        return files.read(self.ca).decode() if self.exists else ""

    def make(self, consul: Path, addresses: Iterable[str] = ()) -> None:
        """Have the program consul make what is missing. addresses: those of the agents, beside 127.0.0.1. Raises
        ObsctlError when it does not."""
        if self.exists:
            return
        files.private_folder(self.folder)
        if not self.ca.exists():
            self._run(consul, "ca", "create", f"-days={DAYS}")
        of_agents = [f"-additional-ipaddress={address}" for address in addresses]
        for kind in (SERVERS, CLIENTS, PROGRAMS, PEOPLE):  # the last one shows that all are there
            if not (self.folder / _file(kind)).exists():
                names = [*_NAMES[kind], *of_agents] if kind in _NAMES else []
                self._run(consul, "cert", "create", f"-{kind.partition('-')[0]}", f"-days={DAYS}", *names)

    def certificate(self, kind: str) -> Json:
        """The three files, by the keys of Nomad's, Consul's and obsctl's configuration."""
        files_of = {"ca_file": self.ca, "cert_file": self.folder / _file(kind), "key_file": self.folder / _key(kind)}
        return {key: str(file) for key, file in files_of.items()}

    def references(self) -> Json:
        """The certificate of the stack's programs, as nomad.tls.programs and consul.tls.programs want it."""
        own = self.certificate(PROGRAMS)
        return {"cert": f"file:{own['cert_file']}", "key": f"file:{own['key_file']}"}

    def exports(self, prefix: str) -> dict[str, str]:
        """The same for people, by the variables of the nomad or consul program."""
        own = self.certificate(PEOPLE)
        names = {"CACERT": "ca_file", "CLIENT_CERT": "cert_file", "CLIENT_KEY": "key_file"}
        return {f"{prefix}_{name}": own[key] for name, key in names.items()}

    def _run(self, consul: Path, *arguments: str) -> None:
        ended = subprocess.run(
            [consul, "tls", *arguments], cwd=self.folder, env=children.environment(), umask=0o077,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ended.returncode:
            words = " ".join((ended.stdout + ended.stderr).split())
            raise ObsctlError(f"consul tls {arguments[0]} made no certificate: {words}", hint="obsctl dev down --purge")


def _file(kind: str) -> str:
    return f"dc1-{kind}.pem"


def _key(kind: str) -> str:
    return f"dc1-{kind}-key.pem"
