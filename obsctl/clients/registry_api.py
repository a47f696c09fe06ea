"""A registry of container images: the part of the OCI distribution API that tells which image a tag means."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from urllib.parse import urlsplit

from obsctl.clients.endpoint import Endpoint
from obsctl.clients.http import Session
from obsctl.clients.paths import checked, quoted
from obsctl.errors import Forbidden, NotFound, Rejected, ServerFailed

DOCKER_HUB = "docker.io"
"""The registry of images whose name has none."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
UNAUTHORIZED = 401
# First an index, whose digest is the same on every platform; then the manifest of an image that has no index.
_ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
_TOKEN_SERVERS = {"registry-1.docker.io": "auth.docker.io"}
"""Registry -> the host of the same operator that gives its tokens, as Docker documents it."""
_QUOTED = re.compile(r'(\w+)="([^"]*)"')


def address_of(host: str, mirror: str | None) -> str:
    """Where the registry that image names call `host` has its API.

    As docker has it: TLS, except on this machine. mirror: one that may say otherwise, "http://mirror:5000/hub".
    """
    if host == DOCKER_HUB:
        return "https://registry-1.docker.io"
    if mirror and "://" in mirror and parts_of(mirror)[0] == host:
        return f"{mirror.partition('://')[0]}://{host}"
    is_here = host.startswith(("127.", "[::1]")) or host.partition(":")[0] == "localhost"
    return f"{'http' if is_here else 'https'}://{host}"


def parts_of(mirror: str) -> tuple[str, str]:
    """Host with port, and path ("" if none), of "mirror:5000/hub", with or without a scheme in front."""
    host, _, path = mirror.rpartition("://")[2].partition("/")
    return host, path


class RegistryClient:
    """RegistryApi over HTTP. A registry that wants authorization says in its first answer where to get it."""

    def __init__(
        self, endpoint: Endpoint, login: tuple[str, str] | None = None, token_server: str | None = None
    ) -> None:
        """login: user name and password. They go to the registry, and to the host `token_server` if it sends there."""
        self._endpoint = endpoint
        registry = _host(endpoint.address)
        self._trusted = {registry, _TOKEN_SERVERS.get(registry, registry), (token_server or registry).lower()}
        self._basic = "Basic " + b64encode(":".join(login).encode()).decode() if login else None

    def digest(self, repository: str, tag: str) -> str:
        image = f"{repository}:{tag}"
        try:
            digest = self._digest(f"/v2/{checked(repository)}/manifests/{quoted(tag)}")
        except NotFound:
            hint = "check the image's name and tag in obsctl.yaml"
            raise NotFound(f"{self._endpoint} has no image {image}", hint=hint) from None
        except Forbidden:
            who = "with this login" if self._basic else "without a login"
            hint = "there may be no such image; a private one needs images.username and images.password in obsctl.yaml"
            raise Forbidden(f"{self._endpoint} does not give {image} {who}", hint=hint) from None
        if not DIGEST.fullmatch(digest):
            raise ServerFailed(f"{self._endpoint} gave no digest of {image}: {digest!r}", hint=self._endpoint.down)
        return digest

    def _digest(self, path: str) -> str:
        """The digest in the registry's answer; "" without one."""
        headers = {"Accept": _ACCEPT}
        response = Session(self._endpoint).request("HEAD", path, accept={UNAUTHORIZED}, headers=headers)
        if response.status_code == UNAUTHORIZED:
            endpoint = replace(self._endpoint, token=self._authorization(response.headers.get("WWW-Authenticate", "")))
            response = Session(endpoint).request("HEAD", path, headers=headers)
        return str(response.headers.get("Docker-Content-Digest", ""))

    def _authorization(self, challenge: str) -> str:
        """What to send, for `Basic realm="…"` or `Bearer realm="https://auth.docker.io/token",service="…",scope="…"`."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "bearer":
            return f"Bearer {self._token(dict(_QUOTED.findall(rest)))}"
        if scheme.lower() == "basic" and self._basic:
            return self._basic
        hint = "set images.username and images.password in obsctl.yaml"
        raise Forbidden(f"{self._endpoint} wants a login", hint=hint)

    def _token(self, challenge: dict[str, str]) -> str:
        realm = challenge.get("realm", "")
        url, host = urlsplit(realm), _host(realm)
        if self._endpoint.address.startswith("https:") and url.scheme != "https":
            what = f"{self._endpoint} refers to {url.geturl() or 'nobody'} for a token, which does not use TLS"
            raise ServerFailed(what, hint=self._endpoint.down)
        if self._basic and host not in self._trusted:
            what = f"{self._endpoint} refers to another server, {host or 'nobody'}, for a token: it gets no password"
            raise Rejected(what, hint=f"if it belongs to this registry: images.token_server: {host} in obsctl.yaml")
        address = f"{url.scheme}://{host}"
        server = replace(self._endpoint, name="the token server", address=address, token=self._basic)
        scope = {key: challenge[key] for key in ("service", "scope") if key in challenge}
        answer = Session(server).request("GET", url.path, params=scope, quote=False).json()
        token = answer.get("token") or answer.get("access_token")
        if not token:
            raise ServerFailed(f"{server} gave no token", hint=self._endpoint.down)
        return str(token)


def _host(address: str) -> str:
    """The host of a URL, with the port if it names one. A user's name in it is left out: it may look like a host."""
    return urlsplit(address).netloc.rpartition("@")[2].lower()
