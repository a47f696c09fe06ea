"""The family of errors: a message, a hint, an exit code."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import obsctl
from obsctl import errors
from obsctl.errors import ApiError, Conflict, Interrupted, ObsctlError


def family(root: type[ObsctlError]) -> list[type[ObsctlError]]:
    """The class and everything below it, in all modules of obsctl."""
    for module in pkgutil.walk_packages(obsctl.__path__, "obsctl."):
        if module.name != "obsctl.__main__":
            importlib.import_module(module.name)
    return [root, *(below for child in root.__subclasses__() for below in family(child))]


def test_the_text_of_an_error_is_its_message() -> None:
    error = ObsctlError("the disk is full", hint="free some space")
    assert (str(error), error.message, error.hint) == ("the disk is full", "the disk is full", "free some space")


def test_no_error_goes_without_a_hint() -> None:
    with pytest.raises(TypeError):
        ObsctlError("the disk is full")  # type: ignore[call-arg]


def test_each_class_says_in_words_when_it_is_raised() -> None:
    assert [each.__name__ for each in family(ObsctlError) if not each.__doc__] == []


def test_exit_codes_are_those_of_the_command_contract() -> None:
    known = {0, 1, 3, 10, 11, 12, 13, 14, 20, 21, 22, 30, 40, 130}
    assert {each.exit_code for each in family(ObsctlError)} <= known
    assert (ObsctlError.exit_code, Interrupted.exit_code) == (1, 130)


def test_what_a_server_answers_is_an_api_error() -> None:
    named = {"Unreachable", "TimedOut", "Forbidden", "NotFound", "Conflict", "Rejected", "ServerFailed"}
    assert {each.__name__ for each in ApiError.__subclasses__()} >= named
    assert issubclass(Conflict, errors.ObsctlError)
