"""Which images jobs name: as configured, or from a mirror; at the digest that obsctl.lock.yaml has for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

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
    """The parts of "docker.io/prom/prometheus:v3.14.0" or "…@sha256:…". A name without registry is of Docker Hub."""

    registry: str
    repository: str
    tag: str = "latest"
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """As docker reads it: what stands before the first slash is a registry if it looks like a host."""
        name, _, digest = text.partition("@")
        host, slash, rest = name.partition("/")
        if not slash or not (host == "localhost" or "." in host or ":" in host):
            host, rest = DOCKER_HUB, name
        repository, _, tag = rest.partition(":")
        if host == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        return cls(host, repository, tag or "latest", digest)

    def through(self, mirror: str | None) -> ImageName:
        """The same image at the mirror ("host:5000/path", a scheme in front is left out) if it is of Docker Hub."""
        if mirror is None or self.registry != DOCKER_HUB:
            return self
        host, path = parts_of(mirror)
        return replace(self, registry=host, repository=f"{path}/{self.repository}" if path else self.repository)

    def __str__(self) -> str:
        """What a job names. Podman takes no tag beside a digest."""
        version = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{self.registry}/{self.repository}{version}"


@dataclass(frozen=True, slots=True)
class Pins:
    """What jobs call the configured images, and which ones they asked for.

    mirror: takes the place of Docker Hub. locked: image -> digest; None when there is no lock file.
    """

    mirror: str | None
    locked: Mapping[str, str] | None
    used: set[str] = field(default_factory=set)

    def name(self, image: str) -> str:
        """What a job is to call this image; exactly what was configured where nothing is known of it."""
        self.used.add(image)
        given = ImageName.parse(image)
        digest = given.digest or (self.locked or {}).get(image, "")
        found = replace(given, digest=digest).through(self.mirror)
        return image if found == given else str(found)

    def unlocked(self) -> tuple[str, ...]:
        """The images asked for that the lock file does not have."""
        if self.locked is None:
            return ()
        return tuple(sorted(image for image in self.used if image not in self.locked and "@" not in image))


def read_lock(root: Path) -> dict[str, str] | None:
    """Image -> digest, of the lock file in the folder of obsctl.yaml; None when there is none."""
    file = root / LOCK_FILE
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
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
        f"{file} {what}", hint=f"restore it from version control, or write a new one: rm {file}; obsctl lock"
    )


def write_lock(root: Path, digests: Mapping[str, str]) -> Path:
    """Write the lock file, whole or not at all, and return where it is."""
    file = root / LOCK_FILE
    fresh = file.with_suffix(".new")
    text = _HEADER + yaml.safe_dump({"images": dict(digests)}, sort_keys=True, width=200)
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        raise ObsctlError(f"{file} cannot be written: {error.strerror}", hint="may you write there?") from error
    return file


def resolve(
    images: Iterable[str], mirror: str | None, registry: Callable[[str], RegistryApi], emit: Emit
) -> tuple[dict[str, str], dict[str, ApiError]]:
    """Image -> digest as its registry has it now, and image -> why there is none; images with a digest are left out.

    registry: a client of the registry with this host, the mirror's included.
    """
    names = {image: ImageName.parse(image).through(mirror) for image in images}
    found: dict[str, str] = {}
    failed: dict[str, ApiError] = {}
    down: dict[str, ApiError] = {}  # registries that need not be asked again
    for image, name in names.items():
        if name.digest:
            continue
        if name.registry in down:
            failed[image] = down[name.registry]
            continue
        emit(Event(image, "start", f"asking {name.registry}"))
        try:
            found[image] = registry(name.registry).digest(name.repository, name.tag)
        except (Unreachable, TimedOut) as error:
            failed[image] = down[name.registry] = error
        except ApiError as error:
            failed[image] = error
    return found, failed
