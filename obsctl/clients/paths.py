"""Names in the path of a URL: quoted, and none of them leads to another place.

HTTP libraries take `.` and `..` out of a path before they send it, and servers undo its quotes before they read it. So
a job called "../agent/leave" would be another call, however it is quoted: no name has such a part.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from obsctl.errors import Rejected
from obsctl.model import is_text


def quoted(name: str) -> str:
    """A name as one part of a path; its own slashes are quoted too. Raises Rejected for what no path can hold."""
    return quote(checked(name), safe="")


def checked(name: str) -> str:
    """A name that somebody else quotes: a library, or the encoder of a query. Raises Rejected."""
    if any(part in ("", ".", "..") for part in name.split("/")) or not is_text(name):
        what = f"{name!r} cannot be a name in the path of a call"
        raise Rejected(what, hint='a name is not empty, has no part that is empty, "." or "..", and is plain Unicode')
    return name


def checked_prefix(prefix: str) -> str:
    """What names begin with: "" for all, "folder/" for those below it. Raises Rejected."""
    if prefix:
        checked(prefix.removesuffix("/"))
    return prefix


def refuse_detours(path: str) -> None:
    """Raises Rejected for a path of a URL that would become another one on its way."""
    if steps := unquote(path).removeprefix("/").removesuffix("/"):
        checked(steps)
