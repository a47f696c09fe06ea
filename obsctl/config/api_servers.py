"""Where Nomad, Consul and the images' registry are, and how to talk to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from obsctl.config.durations import Positive
from obsctl.config.placement import Placement
from obsctl.config.secrets import CertificateRef, KeyRef, SecretRef
from obsctl.config.shapes import Clash, LocalPath, Misfit, Namespace, ServerUrl, Shape, Strict, Word
from obsctl.config.versions import SUPPORTED, parse, title


def _refuse_half(certificate: object, key: object, names: tuple[str, str]) -> None:
    """A certificate and its key are given together."""
    if (certificate is None) != (key is None):
        present, other = names if certificate else names[::-1]
        raise Clash(Misfit((present,), f"needs {other} beside it: give both or neither", (other,)))


class ProgramCertificate(Strict):
    """The client certificate of the stack's own programs, for a server that asks for one."""

    cert: CertificateRef | None = Field(default=None, examples=["file:/etc/obsctl/programs.pem"])
    """The certificate in PEM format, as a reference."""
    key: KeyRef | None = Field(default=None, examples=["file:/etc/obsctl/programs-key.pem"])
    """Its key, as a reference: it reaches the programs in a Nomad Variable, as a file that they alone can read."""

    @model_validator(mode="after")
    def _certificate_has_key(self) -> ProgramCertificate:
        _refuse_half(self.cert, self.key, ("cert", "key"))
        return self


class Tls(Strict):
    """TLS of a server's API. Paths are relative to obsctl.yaml."""

    ca_file: LocalPath | None = Field(default=None, examples=["tls/ca.pem"])
    """Certificates to trust, instead of the system's; the stack's own programs get them too."""
    cert_file: LocalPath | None = Field(default=None, examples=["tls/cli.pem"])
    """obsctl's client certificate."""
    key_file: LocalPath | None = Field(default=None, examples=["tls/cli-key.pem"])
    """The client certificate's key."""
    programs: ProgramCertificate = ProgramCertificate()
    """The client certificate of the stack's own programs: that of `cert_file` is never given to them."""
    verify: bool = True
    """false is for laboratories alone: anybody on the way can then read the token."""

    @model_validator(mode="after")
    def _certificate_has_key(self) -> Tls:
        _refuse_half(self.cert_file, self.key_file, ("cert_file", "key_file"))
        return self


def _not_in_nomad(reference: SecretRef) -> SecretRef:
    if reference.kind == "nomad-var":
        raise ValueError("a token cannot be read from Nomad before Nomad can be asked; use env:NAME or file:/path")
    return reference


Token = Annotated[SecretRef, AfterValidator(_not_in_nomad)]


def _version_of(server: str) -> Callable[[str], str]:
    oldest = SUPPORTED[server].oldest

    def check(value: str) -> str:
        if parse(value) < oldest:
            raise ValueError(f"obsctl needs {title(server, oldest)} or newer")
        return value

    return check


_Number = Shape(r"\d+\.\d+(\.\d+)?", 'must be a version in quotes, like "1.10" or "1.10.4"')
NomadVersion = Annotated[str, _Number, AfterValidator(_version_of("nomad"))]
ConsulVersion = Annotated[str, _Number, AfterValidator(_version_of("consul"))]


class NomadTokens(Strict):
    """Nomad tokens of the stack's own programs, where their workload identities are not enough."""

    warden: Token | None = Field(default=None, examples=["env:WARDEN_NOMAD_TOKEN"])
    """Nomad 1.6 refuses jobs of a workload identity, so there the warden needs a token with its own policy."""


class NomadServer(Strict):
    """Where Nomad is and how to talk to it."""

    address: ServerUrl = "http://127.0.0.1:4646"
    """The address of any Nomad server or client."""
    region: Word | None = Field(default=None, examples=["global"])
    """The region; default: that of this server."""
    namespace: Namespace = "default"
    """Where the stack's jobs run."""
    datacenters: tuple[Word, ...] = ("*",)
    """Where jobs may be placed; `*` means everywhere."""
    placement: Placement = Placement()
    """Node pool, constraints and affinities of all jobs of the stack."""
    token: Token | None = Field(default=None, examples=["env:NOMAD_TOKEN"])
    """An ACL token, as a reference (env: or file:)."""
    tokens: NomadTokens = NomadTokens()
    """Tokens of the stack's own programs: `token` is never given to them."""
    tls: Tls = Tls()
    """TLS of Nomad's API."""
    timeout: Positive = 10.0
    """How long one call may take."""
    version: NomadVersion | None = Field(default=None, examples=["1.6"])
    """The oldest Nomad of the cluster, in quotes: what it cannot do is refused without asking it."""

    @property
    def from_nodes(self) -> str:
        """The address for the stack's own programs, which need it only where Nomad could make no socket."""
        return self.address


class ProgramTokens(Strict):
    """Consul tokens of the stack's own programs, each with the policy of `obsctl policies` and no more."""

    prometheus: SecretRef | None = Field(default=None, examples=["env:PROMETHEUS_CONSUL_TOKEN"])
    """With which Prometheus finds what it scrapes, and reads Consul's own metrics."""
    warden: SecretRef | None = Field(default=None, examples=["env:WARDEN_CONSUL_TOKEN"])
    """With which the warden reads and keeps recipes of drills."""
    demo: SecretRef | None = Field(default=None, examples=["env:DEMO_CONSUL_TOKEN"])
    """With which the demo's services find each other."""


class ConsulServer(Strict):
    """Where Consul is and how to talk to it."""

    address: ServerUrl = "http://127.0.0.1:8500"
    """The address of any Consul agent."""
    node_address: ServerUrl | None = Field(default=None, examples=["http://127.0.0.1:8500"])
    """Where each node finds its own Consul agent, for the stack's programs; default: `address`, one for all."""
    datacenter: Word | None = Field(default=None, examples=["dc1"])
    """The datacenter; default: that of this agent."""
    token: Token | None = Field(default=None, examples=["env:CONSUL_HTTP_TOKEN"])
    """An ACL token, as a reference (env: or file:)."""
    tls: Tls = Tls()
    """TLS of Consul's API."""
    timeout: Positive = 10.0
    """How long one call may take."""
    version: ConsulVersion | None = Field(default=None, examples=["1.14"])
    """The oldest Consul of the cluster, in quotes: what it cannot do is refused without asking it."""
    workload_identity: bool = False
    """true: each task reads Consul with a token of its own, which Nomad gets for it (its workload identity)."""
    tokens: ProgramTokens = ProgramTokens()
    """Tokens of the stack's own programs, where they have no workload identity: `token` is never given to them."""

    @property
    def from_nodes(self) -> str:
        """The address for the stack's own programs."""
        return self.node_address or self.address

    @model_validator(mode="after")
    def _identity_is_token(self) -> ConsulServer:
        if self.workload_identity and self.tokens != ProgramTokens():
            words = (
                "is not used beside workload_identity: true, with which each task has a token; leave one of them out"
            )
            raise Clash(Misfit(("tokens",), words, ("workload_identity",)))
        return self


Registry = Annotated[
    str,
    Shape(
        r"(https?://)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._/-]+[a-z0-9]+)*)?",
        'must be like "mirror.example.org:5000" or "mirror.example.org/hub", with http:// in front where it has no TLS',
    ),
]


Host = Annotated[
    str,
    Shape(
        r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?",
        'must be a host, like "gitlab.example.org" or "gitlab.example.org:8443"',
    ),
]


class Images(Strict):
    """Where container images come from (docker, podman)."""

    registry: Registry | None = Field(default=None, examples=["mirror.example.org:5000"])
    """A mirror in the place of Docker Hub, a path within it included. Images that name a registry keep theirs."""
    username: Word | None = Field(default=None, examples=["obsctl"])
    """Whom `obsctl lock` logs in as, there or at Docker Hub; the nodes have credentials of their own."""
    password: Token | None = Field(default=None, examples=["env:REGISTRY_PASSWORD"])
    """The password or access token of `username`, as a reference (env: or file:)."""
    token_server: Host | None = Field(default=None, examples=["gitlab.example.org"])
    """The host that gives the registry's tokens, if it is another one: no other host gets the password."""

    @model_validator(mode="after")
    def _name_has_password(self) -> Images:
        if (self.username is None) != (self.password is None):
            present, other = ("username", "password") if self.username else ("password", "username")
            raise Clash(Misfit((present,), f"needs {other} beside it: give both or neither", (other,)))
        return self
