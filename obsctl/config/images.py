"""Where container images come from."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from obsctl.config.api_servers import Token
from obsctl.config.shapes import Clash, Misfit, Shape, Strict, Word

Registry = Annotated[
    str,
    Shape(
        r"(https?://)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._/-]+[a-z0-9]+)*)?",
        'must be like "mirror.example.org:5000" or "mirror.example.org/hub", with http:// in front where it has no TLS',
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

    @model_validator(mode="after")
    def _name_has_password(self) -> Images:
        if (self.username is None) != (self.password is None):
            given, other = ("username", "password") if self.username else ("password", "username")
            raise Clash(Misfit((given,), f"needs {other} beside it: give both or neither", (other,)))
        return self
