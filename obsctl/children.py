"""What a program that obsctl starts gets of the user's environment: what it needs, and no token of a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

COMMON = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
"""For every program. Jobs of a local cluster inherit them from its agents."""
DOCKER = (
    "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "XDG_RUNTIME_DIR",
)  # fmt: skip
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
GO = (
    "GOROOT", "GOPATH", "GOBIN", "GOCACHE", "GOMODCACHE", "GOENV", "GOFLAGS", "GOTOOLCHAIN", "GODEBUG", "GOMAXPROCS",
    "GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE", "GOVCS", "GOAUTH", "GOAMD64", "GOARM64",
    "CGO_ENABLED", "CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS", "CGO_LDFLAGS", "CC", "CXX", "PKG_CONFIG_PATH",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR",
    *_PROXIES, *(name.lower() for name in _PROXIES),
)  # fmt: skip
"""For go, the compiler and git that it starts, and its downloads."""
BROWSER = (
    "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "BROWSER", "DBUS_SESSION_BUS_ADDRESS", "DESKTOP_SESSION",
    "XDG_RUNTIME_DIR", "XDG_CURRENT_DESKTOP", "XDG_SESSION_TYPE", "XDG_DATA_DIRS", "XDG_DATA_HOME", "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME", "WSL_DISTRO_NAME", "WSL_INTEROP", "WSLENV",
)  # fmt: skip


def environment(needs: Iterable[str] = (), environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a program that needs these variables beside the common ones."""
    return {name: environ[name] for name in (*COMMON, *needs) if name in environ}
