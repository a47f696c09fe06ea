"""HTTP over a Unix socket, such as that of Nomad's Task API: beneath requests, in the place of a TCP connection."""

from __future__ import annotations

import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import NewConnectionError


class SocketAdapter(HTTPAdapter):
    """Sends every request to whoever listens at this path."""

    def __init__(self, path: str, connections: int) -> None:
        super().__init__()
        self._pool = _Pool("localhost", maxsize=connections, path=path)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        return self._pool

    def close(self) -> None:
        self._pool.close()
        super().close()


class _Connection(HTTPConnection):
    def __init__(self, *args: Any, path: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection
