"""TLS in front of a server that speaks without it, with a certificate that a private authority signed."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from tests.agents import program
from tests.ports import free_port


def make_authority(folder: Path) -> Path:
    """A private authority, and certificates of it for a server at 127.0.0.1 and a client; the authority's own one."""
    folder.mkdir()
    for arguments in (["ca", "create"], ["cert", "create", "-server"], ["cert", "create", "-client"]):
        subprocess.run([program("consul"), "tls", *arguments], cwd=folder, check=True, capture_output=True)
    return folder / "consul-agent-ca.pem"


@contextmanager
def tls_front(folder: Path, address: str) -> Iterator[str]:
    """https://127.0.0.1:PORT for the server at http://HOST:PORT, with the certificate in the folder."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "dc1-server-consul-0.pem", folder / "dc1-server-consul-0-key.pem")
    own, ready = free_port(), threading.Event()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with await asyncio.start_server(partial(_forward, address), "127.0.0.1", own, ssl=context):
            ready.set()
            await stop.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:  # its end cancels what still runs, and waits for it
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(timeout=10)
        yield f"https://127.0.0.1:{own}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _forward(address: str, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
    """Both ways, until one side has ended."""
    host, port = address.removeprefix("http://").split(":")
    try:
        server, to_server = await asyncio.open_connection(host, int(port))
        try:
            ways = [asyncio.create_task(_copy(client, to_server)), asyncio.create_task(_copy(server, to_client))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            to_server.transport.abort()
    finally:
        to_client.transport.abort()


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            to.write(data)
            await to.drain()
