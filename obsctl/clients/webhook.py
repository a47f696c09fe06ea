"""A webhook of the user's. Its address may hold a token, so no message repeats it."""

from __future__ import annotations

from urllib.parse import urlsplit

from obsctl.clients.endpoint import Endpoint
from obsctl.clients.http import Session
from obsctl.errors import ObsctlError
from obsctl.model import Json


def post(url: str, message: Json) -> str:
    """ "" when the message was taken, else why not."""
    try:
        parts = urlsplit(url)
        with Session(Endpoint("the webhook", f"{parts.scheme}://{parts.netloc}", down="", outside=True)) as session:
            status = session.request("POST", url, json=message, accept=range(600)).status_code
    except (ObsctlError, ValueError) as error:  # their text has the address
        return f"there was no answer ({type(error).__name__})"
    return "" if 200 <= status < 300 else f"the answer was {status}"
