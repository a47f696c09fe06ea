"""The certificates of a server's authority, for the jobs that ask that server."""

from __future__ import annotations

import re
import ssl
from base64 import b64decode
from pathlib import Path

from obsctl import files
from obsctl.errors import ObsctlError

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----")


def certificates(file: str, key: str) -> str:
    """Those in this file, which are no secret: each is decoded and written anew, so nothing else of the file is there.

    key: the place of the file's name in obsctl.yaml. Raises ObsctlError.
    """
    hint = "give it a file with the authority's certificates in PEM format"
    try:
        text = files.read(Path(file)).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ObsctlError(f"{key}: the file cannot be read: {reason}", hint=hint) from None
    blocks = _CERTIFICATE.findall(text)  # and no key that may stand beside them
    if not blocks:
        raise ObsctlError(f"{key}: the file has no certificate in PEM format", hint=hint)
    return "\n".join(_anew(block, number, key) for number, block in enumerate(blocks, start=1))


def _anew(block: str, number: int, key: str) -> str:
    """A certificate as PEM, from the base64 text of one."""
    try:
        content = b64decode("".join(block.split()), validate=True)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content)
        if int.from_bytes(content[2:4]) + 4 != len(content):  # its own length: nothing follows it
            raise ValueError
    except (ValueError, ssl.SSLError):
        hint = "look at it with: openssl x509 -noout -text -in FILE"
        raise ObsctlError(f"{key}: certificate {number} of the file is none", hint=hint) from None
    return ssl.DER_cert_to_PEM_cert(content).strip()
