"""An image registry in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from obsctl.errors import NotFound


@dataclass
class FakeRegistry:
    """RegistryApi over a dictionary "repository:tag" -> digest. asked: what it was asked for, in order."""

    digests: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def digest(self, repository: str, tag: str) -> str:
        image = f"{repository}:{tag}"
        self.asked.append(image)
        if image not in self.digests:
            raise NotFound(f"the registry has no image {image}", hint="check the image's name and tag")
        return self.digests[image]
