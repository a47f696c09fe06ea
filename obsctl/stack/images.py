"""The names of images in jobs: as configured or at a mirror, with the digest that obsctl.lock.yaml has for them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from obsctl import files
from obsctl.clients.protocols import RegistryApi
from obsctl.clients.registry_api import DIGEST, DOCKER_HUB, parts_of
from obsctl.errors import ApiError, ObsctlError, TimedOut, Unreachable
from obsctl.model import Emit, Event

LOCK_FILE = "obsctl.lock.yaml"
_HEADER = """\
# The digest of each image, written by `obsctl lock`; keep it with obsctl.yaml. Jobs name images by these digests.
"""


@dataclass(frozen=True, slots=True)
class ImageName:
    """The parts of "docker.io/prom/prometheus:v3.14.0" or "…@sha256:…". Without a registry it is Docker Hub."""

    registry: str
    repository: str
    tag: str = "latest"
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """As docker reads it: what is before the first slash is a registry if it looks like a host."""
        name, _, digest = text.partition("@")
        host, slash, rest = name.partition("/")
        if not slash or not (host == "localhost" or "." in host or ":" in host):
            host, rest = DOCKER_HUB, name
        repository, _, tag = rest.partition(":")
        if host == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        return cls(host, repository, tag or "latest", digest)

    def through(self, mirror: str | None) -> ImageName:
        """An image of Docker Hub at the mirror ("host:5000/path", with or without a scheme); others stay the same."""
        if mirror is None or self.registry != DOCKER_HUB:
            return self
        host, path = parts_of(mirror)
        return replace(self, registry=host, repository=f"{path}/{self.repository}" if path else self.repository)

    def __str__(self) -> str:
        """As a job names it. Podman accepts no tag beside a digest."""
        version = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{self.registry}/{self.repository}{version}"


@dataclass(frozen=True, slots=True)
class Pins:
    """The names of the configured images in jobs, and which images were used.

    mirror: takes the place of Docker Hub. locked: image -> digest; None when there is no lock file.
    """

    mirror: str | None
    locked: Mapping[str, str] | None
    used: set[str] = field(default_factory=set)

    def name(self, image: str) -> str:
        """The name for a job: unchanged without a mirror and a digest."""
        self.used.add(image)
        configured = ImageName.parse(image)
        digest = configured.digest or (self.locked or {}).get(image, "")
        name = replace(configured, digest=digest).through(self.mirror)
        return image if name == configured else str(name)

    def unlocked(self) -> tuple[str, ...]:
        """The used images that the lock file does not have."""
        if self.locked is None:
            return ()
        return tuple(sorted(image for image in self.used if image not in self.locked and "@" not in image))


def read_lock(root: Path) -> dict[str, str] | None:
    """Image -> digest, of the lock file in the folder of obsctl.yaml; None when there is none."""
    file = root / LOCK_FILE
    files.refuse_foreign(file, within=root)
    try:
        document = yaml.safe_load(files.read(file))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(file, f"cannot be read: {error.strerror}") from error
    except RecursionError:
        raise _unusable(file, "is nested too deeply, or contains itself") from None
    except (ValueError, yaml.YAMLError) as error:
        raise _unusable(file, f"cannot be read: {' '.join(str(error).split())}") from error
    images = document.get("images") if isinstance(document, dict) else None
    if not isinstance(images, dict):
        raise _unusable(file, "has no mapping `images`")
    for image, digest in images.items():
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise _unusable(file, f"has no digest at images.{image}")
    return {str(image): digest for image, digest in images.items()}


def _unusable(file: Path, what: str) -> ObsctlError:
    return ObsctlError(
        f"{file} {what}",
        hint=f"restore it from version control, or write a new one: rm {shlex.quote(str(file))}; obsctl lock",
    )


def write_lock(root: Path, digests: Mapping[str, str]) -> Path:
    """Write the lock file, whole or not at all, and return where it is."""
    file = root / LOCK_FILE
    text = _HEADER + yaml.safe_dump({"images": dict(digests)}, sort_keys=True, width=200)
    try:
        files.write(file, text, mode=files.SHARED)
    except OSError as error:
        raise ObsctlError(
            f"{file} cannot be written: {error.strerror}", hint="check the permissions of the folder"
        ) from error
    return file


def resolve(
    images: Iterable[str], mirror: str | None, registry: Callable[[str], RegistryApi], emit: Emit
) -> tuple[dict[str, str], dict[str, ApiError]]:
    """Image -> the digest that its registry has now, and image -> why there is none. Images with a digest are skipped.

    registry: gives the client of the registry with this host, the mirror included.
    """
    names = {image: ImageName.parse(image).through(mirror) for image in images}
    digests: dict[str, str] = {}
    failed: dict[str, ApiError] = {}
    down: dict[str, ApiError] = {}  # registries that are not asked again
    for image, name in names.items():
        if name.digest:
            continue
        if name.registry in down:
            failed[image] = down[name.registry]
            continue
        emit(Event(image, "start", f"asking {name.registry}"))
        try:
            digests[image] = registry(name.registry).digest(name.repository, name.tag)
        except (Unreachable, TimedOut) as error:
            failed[image] = down[name.registry] = error
        except ApiError as error:
            failed[image] = error
    return digests, failed
