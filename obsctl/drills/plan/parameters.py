"""The parameters of a fault: each has a kind, which reads what a person writes and says how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from obsctl.config.durations import parse_duration
from obsctl.drills.faults import Value
from obsctl.errors import ObsctlError


def _share(text: str) -> float:
    """0.25 from "25%"."""
    number = float(text.removesuffix("%"))
    if not text.endswith("%") or not 0 < number <= 100:
        raise ValueError('must be a share, from above 0% to 100%, like "25%"')
    return number / 100


def _count(text: str) -> float:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= 1_000_000:
        raise ValueError("must be a whole number from 1 to 1000000")
    return number


def _amount(text: str) -> Value:
    return text if text == "all" else _count(text)


def _text(text: str) -> str:
    if not text.isprintable() or len(text) > 500:
        raise ValueError("must be one line of at most 500 characters")
    return text


_KINDS: Mapping[str, Callable[[str], Value]] = {
    "share": _share, "duration": parse_duration, "count": _count, "amount": _amount,
    "text": _text,
}  # fmt: skip
"""Kind -> from what a person writes to the value: a share of one, seconds, a whole number, one or
"all", a line."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """default: as a person writes it, None when a person must say it."""

    name: str
    kind: str
    help: str
    default: str | None = None

    @staticmethod
    def from_dict(name: str, data: Mapping[str, Any]) -> Parameter:
        return Parameter(name, data["kind"], data["help"], data.get("default"))

    def read(self, text: str) -> Value:
        """Raises ValueError with what it must be."""
        try:
            return _KINDS[self.kind](text)
        except ValueError as error:
            plain = str(error) if str(error).startswith(("must", "write")) else f"must be a {self.kind}"
            raise ValueError(plain) from None


def values(parameters: Mapping[str, Parameter], written: Mapping[str, str], *, fault: str) -> dict[str, Value]:
    """A value for each parameter, from what a person has written or from its default.

    Raises ObsctlError for a name that there is not, a value that does not fit, and one that is missing.
    """
    for name in written.keys() - parameters.keys():
        known = ", ".join(sorted(parameters)) or "none"
        raise ObsctlError(f"the fault {fault} has no parameter {name}", hint=f"its parameters are: {known}")
    texts = {name: written.get(name, parameter.default) for name, parameter in parameters.items()}
    return {name: _value(parameters[name], text, fault) for name, text in texts.items()}


def _value(parameter: Parameter, text: str | None, fault: str) -> Value:
    if text is None:
        raise ObsctlError(f"the fault {fault} needs {parameter.name}: {parameter.help}", hint=f"--{parameter.name}")
    try:
        return parameter.read(text)
    except ValueError as error:
        raise ObsctlError(f"{parameter.name} of the fault {fault} {error}, not {text!r}", hint=parameter.help) from None
