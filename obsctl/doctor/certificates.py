"""Whether the stack's own programs can talk to Nomad and Consul by TLS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from obsctl.config.api_servers import ConsulServer, NomadServer
from obsctl.config.secrets import SecretRef
from obsctl.doctor.proof import BY_PROBE
from obsctl.doctor.site import Site
from obsctl.errors import ApiError
from obsctl.model import Finding


def shown(site: Site) -> Iterator[Finding]:
    """They get the CA of a server, and a certificate of their own, but never that of a user."""
    config = site.config
    rows = [component.row for component in config.enabled_components()]
    for server, settings in (("nomad", config.nomad), ("consul", config.consul)):
        who = ", ".join(row.name for row in rows if row.calls(server))
        if who and settings.address.startswith("https:"):
            yield from _of_server(site, server, settings, who)
    yield from _node_address(config.consul)


def _node_address(consul: ConsulServer) -> Iterator[Finding]:
    """Agents of one cluster have the same ports: one that speaks TLS at one of them does so on every node."""
    ours, theirs = urlsplit(consul.address), urlsplit(consul.from_nodes)
    if ours.port == theirs.port and ours.scheme != theirs.scheme:
        what = f"is {theirs.scheme}:// at port {theirs.port}, where consul.address has {ours.scheme}://"
        hint = "obsctl doctor --probe asks there; the port for TLS is often 8501, that without 8500"
        yield Finding.warning("consul.node_address", what, hint, settled_by=BY_PROBE)


def _of_server(site: Site, server: str, settings: NomadServer | ConsulServer, who: str) -> Iterator[Finding]:
    tls = settings.tls
    if tls.programs.cert and tls.programs.key:
        yield from _tried(site, server, tls.programs.cert, tls.programs.key)
    elif tls.cert_file:
        what = f"{server}.tls.cert_file is obsctl's alone, so {server} gets no certificate from {who}"
        own = f"{server}.tls.programs"
        hint = f"give them one of their own: {own} with the references cert and key"
        yield Finding.warning("certificates", what, hint, settled_by=own)
    if not tls.verify:
        what = f"{server}.tls.verify: false holds for obsctl alone, and not for {who}"
        authority = f"{server}.tls.ca_file"
        yield Finding.warning(
            "certificates", what, f"name the CA of its certificate in {authority}", settled_by=authority
        )


def _tried(site: Site, server: str, cert: SecretRef, key: SecretRef) -> Iterator[Finding]:
    """The server is asked with it, as the programs ask."""
    where = f"{server}.tls.programs"
    if not hasattr(os, "memfd_create"):  # requests reads certificates from files, and a key is to be on no disk
        what = "the certificate of the stack's programs is not tried: that takes Linux"
        hint = "run obsctl doctor on Linux, too; Prometheus without targets is what a wrong certificate looks like"
        yield Finding.unseen(where, what, hint, settled_by="obsctl doctor on Linux")
        return
    texts = [site.resolve(reference, f"{where}.{part}").reveal() for part, reference in (("cert", cert), ("key", key))]
    try:
        with _in_memory(texts[0]) as cert_file, _in_memory(texts[1]) as key_file:
            site.logins.by_certificate(server, cert_file, key_file).leader()
    except ApiError as error:
        hint = f"give a certificate that an authority of {server} signed for clients, and its own key"
        yield Finding.error(where, f"the certificate is of no use to the stack's programs: {error.message}", hint)


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """The path of a file with this text that is on no disk, and that nobody else can open."""
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
