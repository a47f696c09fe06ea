"""Folders that outlive a command, and which of them can be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from obsctl.state import private_cache


def environ(home: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(home)}


def test_a_folder_of_the_cache_is_made_for_the_user_alone(tmp_path: Path) -> None:
    folder = private_cache("approved", environ(tmp_path))
    assert folder == tmp_path / "obsctl" / "approved"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert private_cache("approved", environ(tmp_path)) == folder


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_one_that_others_can_write_to_is_not_used(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "obsctl" / "approved"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    assert private_cache("approved", environ(tmp_path)) is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Where it leads may be anybody's choice."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / "obsctl").mkdir()
    (tmp_path / "obsctl" / "approved").symlink_to(elsewhere)
    assert private_cache("approved", environ(tmp_path)) is None


@pytest.mark.parametrize("above", ["obsctl", "."])
def test_one_below_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path, above: str) -> None:
    """They could put another one in its place."""
    assert private_cache("approved", environ(tmp_path)) is not None
    (tmp_path / above).chmod(0o777)
    assert private_cache("approved", environ(tmp_path)) is None


def test_where_none_can_be_made_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert private_cache("approved", environ(tmp_path / "file")) is None
