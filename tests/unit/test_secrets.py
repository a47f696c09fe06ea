"""References are resolved, and a secret's value shows nowhere but in reveal()."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsctl.config.secrets import CertificateRef, KeyRef, Secret, SecretRef, resolve
from obsctl.errors import ObsctlError

VALUE = "xoxb-5ecre7"


def no_variables(path: str) -> Mapping[str, str] | None:
    raise AssertionError(f"nobody may ask Nomad for {path}")


def resolved(
    reference: str, environ: Mapping[str, str] | None = None, variables: Mapping[str, Mapping[str, str]] | None = None
) -> str:
    read = no_variables if variables is None else variables.get
    ref = SecretRef.parse(reference)
    return resolve(ref, key="nomad.token", environ=environ or {}, read_variable=read).reveal()


def fault(reference: str, **sources: Mapping[str, str] | Mapping[str, Mapping[str, str]]) -> ObsctlError:
    """The error; it names the key and the reference, has a hint, and neither holds nor chains the value."""
    with pytest.raises(ObsctlError) as caught:
        resolved(reference, **sources)  # type: ignore[arg-type]
    assert caught.value.message.startswith(f"nomad.token: {reference}: ")
    assert caught.value.hint
    assert VALUE not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    return caught.value


def secret_file(folder: Path, content: bytes, mode: int = 0o600) -> str:
    path = folder / "a token"
    path.write_bytes(content)
    path.chmod(mode)
    return f"file:{path}"


# References


@pytest.mark.parametrize("text", ["env:TOKEN", "file:/run/token", "file:~/token", "nomad-var:nomad/jobs/x#token"])
def test_references(text: str) -> None:
    ref = SecretRef.parse(text)
    assert (ref, f"{ref.kind}:{ref.target}") == (text, text)


@pytest.mark.parametrize(
    "value",
    [
        VALUE,
        "",
        "env:",
        "env:A B",
        f"env:{VALUE}",
        "file:relative",
        "file:",
        "nomad-var:x",
        "nomad-var:x#",
        "vault:x#y",
        1,
    ],
)
def test_anything_else_is_refused_without_repeating_it(value: object) -> None:
    with pytest.raises(ValueError, match="write env:NAME") as caught:
        SecretRef.parse(value)
    assert VALUE not in str(caught.value)


# Resolution


def test_from_the_environment() -> None:
    assert resolved("env:TOKEN", {"TOKEN": VALUE}) == VALUE


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_from_a_file_without_the_newline_at_its_end(tmp_path: Path, end: bytes) -> None:
    assert resolved(secret_file(tmp_path, VALUE.encode() + end)) == VALUE


def test_from_a_file_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    secret_file(tmp_path, VALUE.encode())
    assert resolved("file:~/a token") == VALUE


def test_from_a_nomad_variable() -> None:
    assert resolved("nomad-var:obsctl/slack#url", variables={"obsctl/slack": {"url": VALUE}}) == VALUE


def test_what_is_missing_is_named() -> None:
    assert "not set" in fault("env:TOKEN").message
    assert "no Nomad Variable a/b" in fault("nomad-var:a/b#c", variables={}).message
    assert "no item c" in fault("nomad-var:a/b#c", variables={"a/b": {"d": VALUE}}).message


def test_a_missing_file_or_a_folder(tmp_path: Path) -> None:
    assert "No such file" in fault(f"file:{tmp_path}/nope").message
    assert "it is a folder" in fault(f"file:{tmp_path}").message
    assert "no regular file" in fault("file:/dev/zero").message


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(10**12)
    path.chmod(0o600)
    with pytest.raises(ObsctlError, match="is longer than 64 KiB"):
        resolved(f"file:{path}")


def test_letters_of_two_bytes_are_not_cut(tmp_path: Path) -> None:
    assert resolved(secret_file(tmp_path, "ä".encode() * 32_768)) == "ä" * 32_768
    assert "is longer than 64 KiB" in fault(secret_file(tmp_path, "ä".encode() * 40_001)).message


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o666])
def test_a_file_that_everybody_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    found = fault(secret_file(tmp_path, VALUE.encode(), mode))
    assert "can be read by everybody" in found.message
    assert "chmod o-r" in found.hint


def test_everybody_may_read_a_certificate_and_not_its_key(tmp_path: Path) -> None:
    file = secret_file(tmp_path, b"-----BEGIN\nMIIB\n", 0o644)
    resolve(CertificateRef(file), key="nomad.tls.programs.cert", read_variable=lambda _: None)
    with pytest.raises(ObsctlError, match="can be read by everybody"):
        resolve(KeyRef(file), key="nomad.tls.programs.key", read_variable=lambda _: None)


def test_a_file_for_a_group_is_taken(tmp_path: Path) -> None:
    assert resolved(secret_file(tmp_path, VALUE.encode(), 0o640)) == VALUE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (VALUE.encode() + b"\xff", "is not UTF-8"),
        (VALUE.encode() + b"\nsecond line", "has a line break"),
        (VALUE.encode() + b"\x00", "has a line break"),
        (b" " + VALUE.encode(), "white space at its beginning or end"),
        (VALUE.encode() * 10_000, "longer than 64 KiB"),
    ],
)
def test_a_file_with_no_usable_secret(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in fault(secret_file(tmp_path, content)).message


def test_an_empty_or_broken_value_from_elsewhere() -> None:
    assert "is empty" in fault("env:TOKEN", environ={"TOKEN": ""}).message
    assert "line break" in fault("env:TOKEN", environ={"TOKEN": f"{VALUE}\nX-Evil: 1"}).message
    assert "is empty" in fault("nomad-var:a#b", variables={"a": {"b": ""}}).message


def test_a_key_has_lines(tmp_path: Path) -> None:
    key = "-----BEGIN SOME KEY-----\nMIIB\n-----END SOME KEY-----"
    file = secret_file(tmp_path, key.encode() + b"\n")
    assert resolve(KeyRef(file), key="k", environ={}, read_variable=lambda _: None).reveal() == key
    assert "has a line break" in fault(file).message, "nowhere else"
    with pytest.raises(ObsctlError, match="white space"):
        resolve(KeyRef("env:A"), key="k", environ={"A": "a\n b"}, read_variable=lambda _: None)


# A secret never shows


def test_no_text_of_a_secret_holds_its_value() -> None:
    secret = Secret(VALUE)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>30}",
        "%s %r" % (secret, secret),  # noqa: UP031  old code formats this way
        "{:^20}".format(secret),  # noqa: UP032
        json.dumps({"token": secret}, default=str),
        repr({"a": [secret]}),
        repr(dir(secret)),
    ]
    assert not [text for text in shown if VALUE in text]
    assert secret.reveal() == VALUE


def test_no_log_of_a_secret_holds_its_value(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("token %s %r", Secret(VALUE), Secret(VALUE))
    assert caplog.records
    assert VALUE not in caplog.text


def test_no_traceback_holds_its_value() -> None:
    secret = Secret(VALUE)
    try:
        raise RuntimeError(f"failed with {secret}")
    except RuntimeError as error:
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = "".join(report.format())
    assert "secret = Secret(hidden)" in text
    assert VALUE not in text


def test_a_secret_is_neither_pickled_nor_copied_nor_jsoned() -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            attempt(Secret(VALUE))


def test_a_secret_has_no_dict_to_look_into() -> None:
    assert not hasattr(Secret(VALUE), "__dict__")


@given(value=st.text(min_size=4), spec=st.sampled_from(["", "s", ">40", "^3"]))
def test_formatting_depends_on_nothing_in_the_value(value: str, spec: str) -> None:
    assert format(Secret(value), spec) == format(Secret("another"), spec)
