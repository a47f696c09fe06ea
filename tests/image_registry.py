"""A real image registry on 127.0.0.1 (Debian's docker-registry), and images without content in it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from obsctl.wait import SYSTEM_CLOCK
from tests.agents import running, until_it_answers
from tests.ports import free_port

USER, PASSWORD = "puller", "s3cret-of-the-registry"
_HTPASSWD = f"{USER}:$2b$04$eFk2Sz8n.SjSsGzdsUpkn.BuH3QuE.NmzsXzoBsjF8YWmnL9ZPcUS\n"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True)
class ImageRegistry:
    """host: as image names have it. session: what tests push with."""

    host: str
    session: requests.Session = field(default_factory=requests.Session)

    def push(self, repository: str, tag: str, *, architectures: tuple[str, ...] = ("amd64",)) -> str:
        """An image of these platforms, an index if there are several, and its digest."""
        manifests = [self._push_platform(repository, architecture) for architecture in architectures]
        if len(manifests) == 1:
            return self._put(repository, tag, manifests[0], MANIFEST)
        described = [
            {**_descriptor(content, MANIFEST), "platform": {"os": "linux", "architecture": architecture}}
            for content, architecture in zip(manifests, architectures, strict=True)
        ]
        for content in manifests:
            self._put(repository, _digest(content), content, MANIFEST)
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": described}
        return self._put(repository, tag, json.dumps(index).encode(), INDEX)

    def _push_platform(self, repository: str, architecture: str) -> bytes:
        """The image's only blob, and its manifest, which is not put yet."""
        config = json.dumps({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
        upload = self._send("POST", f"http://{self.host}/v2/{repository}/blobs/uploads/").headers["Location"]
        self._send("PUT", upload, params={"digest": _digest(config.encode())}, data=config)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(config.encode(), CONFIG),
            "layers": [],
        }
        return json.dumps(manifest).encode()

    def _put(self, repository: str, reference: str, content: bytes, kind: str) -> str:
        url = f"http://{self.host}/v2/{repository}/manifests/{reference}"
        self._send("PUT", url, data=content, headers={"Content-Type": kind})
        return _digest(content)

    def _send(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        response = self.session.request(method, url, timeout=30, **kwargs)
        response.raise_for_status()
        return response


@contextmanager
def image_registry(folder: Path, auth: dict[str, Any] | None = None) -> Iterator[ImageRegistry]:
    """Runs as long as the context. auth: as in the registry's own configuration."""
    program = shutil.which("docker-registry")
    assert program, "docker-registry is missing; on Debian: apt-get install docker-registry"
    host = f"127.0.0.1:{free_port()}"
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {"addr": host},
        **({"auth": auth} if auth else {}),
    }
    (folder / "registry.yml").write_text(yaml.safe_dump(config))
    with running([program, "serve", "registry.yml"], folder):
        until_it_answers(lambda: _listens(host), folder)
        yield ImageRegistry(host)


def with_password(folder: Path) -> dict[str, Any]:
    """The `auth` of a registry that wants USER and PASSWORD."""
    (folder / "htpasswd").write_text(_HTPASSWD)
    return {"htpasswd": {"realm": "images", "path": str(folder / "htpasswd")}}


@dataclass(frozen=True)
class TokenGiver:
    """Makes the tokens that a registry accepts: what Docker Hub's authorization server does."""

    folder: Path
    service: str = "registry.test"
    issuer: str = "tokens.test"

    def auth(self, realm: str) -> dict[str, Any]:
        """The `auth` of a registry that wants tokens, and sends to `realm` for them."""
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
                      "-days", "2", "-subj", "/CN=tokens")  # fmt: skip
        token = {"realm": realm, "service": self.service, "issuer": self.issuer, "rootcertbundle": "cert.pem"}
        return {"token": token}

    def token(self, repository: str, *actions: str) -> str:
        now = int(SYSTEM_CLOCK.now())
        certificate = self._openssl("x509", "-in", "cert.pem", "-outform", "DER")
        header = {"typ": "JWT", "alg": "RS256", "x5c": [b64encode(certificate).decode()]}
        claims = {
            "iss": self.issuer,
            "sub": "",
            "aud": self.service,
            "exp": now + 600,
            "nbf": now - 60,
            "iat": now,
            "jti": "1",
            "access": [{"type": "repository", "name": repository, "actions": actions}],
        }
        signed = f"{_part(json.dumps(header).encode())}.{_part(json.dumps(claims).encode())}"
        return f"{signed}.{_part(self._openssl('dgst', '-sha256', '-sign', 'key.pem', given=signed.encode()))}"

    def _openssl(self, *arguments: str, given: bytes = b"") -> bytes:
        return subprocess.run(
            ["openssl", *arguments], cwd=self.folder, input=given, capture_output=True, check=True
        ).stdout


def _part(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(content: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _listens(host: str) -> bool:
    try:
        return requests.get(f"http://{host}/v2/", timeout=5).status_code in (200, 401)
    except requests.RequestException:
        return False
