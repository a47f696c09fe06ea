"""Secrets are references in obsctl.yaml, and are read at the last moment."""

from __future__ import annotations

import os
import re
import secrets
import stat
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from shlex import quote
from typing import Never

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from obsctl import files
from obsctl.errors import ObsctlError

_PATTERN = r"env:[A-Za-z_][A-Za-z0-9_]*|file:~?/[^\r\n]+|nomad-var:[^\s#]+#[^\s#]+"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LARGEST = 65_536  # bytes; a Nomad Variable holds no more either

ReadVariable = Callable[[str], Mapping[str, str] | None]


class SecretRef(str):
    """A reference to a secret: "env:NAME", "file:/path", "nomad-var:path#key". Never the secret itself."""

    __slots__ = ()

    @property
    def kind(self) -> str:
        return self.split(":", 1)[0]

    @property
    def target(self) -> str:
        return self.split(":", 1)[1]

    @property
    def shown(self) -> str:
        """The reference for a message: a variable's name that is not in capitals may be the secret itself."""
        return self if self.kind != "env" or self.target.isupper() else "env:…"

    @classmethod
    def parse(cls, value: object) -> SecretRef:
        """Raises ValueError, whose words never hold the value: it may be the secret itself."""
        if not isinstance(value, str) or not re.fullmatch(_PATTERN, value):
            raise ValueError(
                "a secret does not belong here, only a reference to it: "
                "write env:NAME, file:/absolute/path or nomad-var:path#key"
            )
        return cls(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^({_PATTERN})$"}


class KeyRef(SecretRef):
    """A reference to a key in PEM format: it has lines, and is written to a file alone."""

    __slots__ = ()


class CertificateRef(KeyRef):
    """A reference to a certificate in PEM format: everybody may read it."""

    __slots__ = ()


def looks_like_a_token(word: str) -> bool:
    """Whether it is as long and full of digits as tokens are: it may be a secret in the wrong place."""
    return len(word) >= 12 and sum(letter.isdigit() for letter in word) >= 3


class Secret:
    """A secret's value. It shows only on `reveal()`: not in text, logs, JSON or pickles."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce__(self) -> Never:
        raise TypeError("a secret is not pickled or copied")


def generate() -> Secret:
    """A new secret: 32 random letters and digits (190 bits), which need no quotes anywhere."""
    return Secret("".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32)))


def resolve(
    ref: SecretRef, *, key: str, environ: Mapping[str, str] = os.environ, read_variable: ReadVariable
) -> Secret:
    """The secret that `ref` points to. key: the place of the reference in obsctl.yaml, for messages.

    read_variable: items of the Nomad Variable with this path, or None when there is none.
    Raises ObsctlError that names the key and the reference, never the value.
    """
    if ref.kind == "env":
        value = _from_environment(ref, key, environ)
    elif ref.kind == "file":
        value = _from_file(ref, key)
    else:
        value = _from_variable(ref, key, read_variable)
    _refuse_unusable(value, ref, key)
    return Secret(value)


def _from_environment(ref: SecretRef, key: str, environ: Mapping[str, str]) -> str:
    if ref.target not in environ:
        raise _error(
            ref,
            key,
            "is not set in the environment",
            f"export {ref.shown.removeprefix('env:')}=…, without writing it down",
        )
    return environ[ref.target]


def _from_file(ref: SecretRef, key: str) -> str:
    """The file without the newline at its end."""
    path = Path(os.path.expanduser(ref.target))  # noqa: PTH111  Path.expanduser raises when there is no home
    is_public, content, trouble = 0, b"", ""
    try:
        with files.opened(path) as file:
            is_public = os.fstat(file.fileno()).st_mode & stat.S_IROTH
            content = file.read(_LARGEST + len("\r\n") + 1)
    except OSError as error:
        trouble = f"cannot be read: {error.strerror}"
    if trouble:
        raise _error(ref, key, trouble, f"check the path and its permissions: ls -l {quote(str(path))}")
    if is_public and not isinstance(ref, CertificateRef):
        hint = f"chmod o-r {quote(str(path))}; for a mounted file that cannot be changed, pass it as env:NAME"
        raise _error(ref, key, "can be read by everybody on this machine", hint)
    return _text(content, ref, key)


def _text(content: bytes, ref: SecretRef, key: str) -> str:
    if len(content) > _LARGEST + len("\r\n"):
        raise _too_long(ref, key)
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        pass  # raised outside: the exception holds the content
    raise _error(ref, key, "is not UTF-8 text", "write the secret into the file as plain text")


def _from_variable(ref: SecretRef, key: str, read_variable: ReadVariable) -> str:
    path, item = ref.target.split("#", 1)
    items = read_variable(path)
    if items is None:
        raise _error(ref, key, f"there is no Nomad Variable {path}", f"nomad var put {path} {item}=…")
    if item not in items:
        raise _error(ref, key, f"the Nomad Variable has no item {item}", f"nomad var put {path} {item}=…")
    return items[item]


def _refuse_unusable(value: str, ref: SecretRef, key: str) -> None:
    """Refuse what no header or URL can carry: a library would repeat the value in its error message."""
    if not value:
        raise _error(ref, key, "is empty", "put the secret there")
    if len(value.encode(errors="surrogateescape")) > _LARGEST:
        raise _too_long(ref, key)
    lines = value.strip("\n").split("\n") if isinstance(ref, KeyRef) else [value]
    if any(line != line.strip() or _CONTROL.search(line) for line in lines):
        raise _error(ref, key, "has a line break, or white space at its beginning or end", "take it out of the secret")


def _too_long(ref: SecretRef, key: str) -> ObsctlError:
    return _error(ref, key, "is longer than 64 KiB", "is this the right place?")


def _error(ref: SecretRef, key: str, trouble: str, hint: str) -> ObsctlError:
    return ObsctlError(f"{key}: {ref.shown}: {trouble}", hint=hint)
