"""One thing to make in an ACL system, seen before it is made. What somebody else made is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from obsctl.errors import Conflict, Interrupted, ObsctlError
from obsctl.model import Json

BY_OBSCTL = ("obsctl, stack ", "obsctl dev: ")
"""How the description of whatever obsctl made for one stack alone begins, or for a local cluster."""
_AGAIN = "run the command again: it makes what is missing"


@dataclass(frozen=True, slots=True)
class Change:
    """what: "Nomad's policy obs-warden". action: "create" or "update". fields: of an update, which change and how."""

    what: str
    action: str
    apply: Callable[[], None]
    fields: tuple[str, ...] = ()


def mark(stack: str, role: str) -> str:
    """The description of all that is made for this role; terraform/acl writes the same."""
    return f"obsctl, stack {stack}: {role}"


def make(changes: list[Change]) -> None:
    """Make them, one after the other.

    Raises ObsctlError, or Interrupted after Ctrl-C; both name what was made and what was not.
    """
    left = list(changes)
    try:
        while left:
            left[0].apply()
            left.pop(0)
    except KeyboardInterrupt:
        raise Interrupted(_with_balance("interrupted", changes, left), hint=_AGAIN) from None
    except ObsctlError as error:
        raise ObsctlError(_with_balance(error.message, changes, left), hint=f"{error.hint}; then {_AGAIN}") from error


def _with_balance(message: str, changes: list[Change], left: list[Change]) -> str:
    done = changes[: len(changes) - len(left)]
    return "\n  ".join([message, f"made: {_names(done)}", f"not made, or not confirmed: {_names(left)}"])


def _names(changes: list[Change]) -> str:
    return ", ".join(change.what for change in changes) or "nothing"


def change(what: str, there: Json | None, target: Json, apply: Callable[[], None]) -> list[Change]:
    """What makes `there` what is wanted; nothing where it is that. Raises Conflict where it is not ours."""
    if there is None:
        return [Change(what, "create", apply)]
    if (there.get("Description") or "") != target["Description"]:
        hint = f"rename or delete it, or make its description {target['Description']!r}: then obsctl may change it"
        raise Conflict(f"{what} is there, and obsctl did not make it", hint=hint)
    fields = {
        key: (there.get(key), value) for key, value in target.items() if (there.get(key) or None) != (value or None)
    }
    words = tuple(f"{key}: {_shown(old)} becomes {_shown(new)}" for key, (old, new) in fields.items())
    return [Change(what, "update", apply, words)] if fields else []


def _shown(value: object) -> str:
    """A text of several lines, such as rules or a certificate, by its length alone."""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"a text of {len(text.splitlines())} lines" if "\n" in text.strip() else (text or "nothing")
