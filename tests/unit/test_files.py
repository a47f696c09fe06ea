"""Whose files count, of what kind they are, and how they are written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from obsctl import files
from obsctl.errors import ObsctlError
from tests.foreign import STRANGER, give_away


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    folder.mkdir()
    (folder / "obsctl.yaml").write_text("stack: obs")
    return folder


def refusal(path: Path, **environ: str) -> ObsctlError:
    with pytest.raises(ObsctlError) as caught:
        files.refuse_foreign(path, environ)
    return caught.value


class TestForeign:
    def test_ones_own_file_counts(self, project: Path) -> None:
        files.refuse_foreign(project / "obsctl.yaml", {})

    def test_one_that_is_missing_is_nobodys(self, project: Path) -> None:
        files.refuse_foreign(project / "none" / "at-all.yaml", {})

    @pytest.mark.parametrize("which", ["obsctl.yaml", "."])
    def test_a_file_or_folder_of_another_user(self, project: Path, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
        give_away(project / which, monkeypatch)
        error = refusal(project / "obsctl.yaml")
        assert "belongs to" in error.message
        assert "so obsctl does not use it" in error.message
        assert error.hint.endswith(f"export OBSCTL_TRUST='{project}'")

    def test_a_link_of_another_user_to_a_file_of_ones_own(
        self, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        link = project / "obsctl.prod.yaml"
        link.symlink_to(tmp_path / "a project" / "obsctl.yaml")
        if os.geteuid():
            monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
        else:
            os.lchown(link, STRANGER, STRANGER)
        assert "belongs to" in refusal(link).message

    @pytest.mark.parametrize("which", ["obsctl.yaml", "."])
    def test_what_everybody_can_write(self, project: Path, which: str) -> None:
        (project / which).chmod(0o777)
        assert "can be written by everybody" in refusal(project / "obsctl.yaml").message

    def test_a_folder_that_is_named_as_trusted(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        give_away(project / "obsctl.yaml", monkeypatch)
        files.refuse_foreign(project / "obsctl.yaml", {files.TRUST: f"/nowhere:{project}"})
        assert refusal(project / "obsctl.yaml", OBSCTL_TRUST="/nowhere").hint.endswith(
            f"export OBSCTL_TRUST=\"$OBSCTL_TRUST\":'{project}'"
        )

    @pytest.mark.parametrize("value", [".", "", "a project", "relative:"])
    def test_a_relative_folder_would_be_another_one_each_time(
        self, project: Path, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(project)
        (project / "obsctl.yaml").chmod(0o666)
        refusal(project / "obsctl.yaml", OBSCTL_TRUST=value)

    def test_a_link_that_leads_out_of_the_project(self, project: Path, tmp_path: Path) -> None:
        """The author of a pull request could print another file of the machine with it."""
        (tmp_path / "private").write_text("s3cret")
        (project / "link").symlink_to(tmp_path / "private")
        (project / "jobs").symlink_to(tmp_path)
        (project / "within").symlink_to("obsctl.yaml")
        files.refuse_foreign(project / "within", {}, within=project)
        for path in (project / "link", project / "jobs" / "private", tmp_path / "private"):
            with pytest.raises(ObsctlError, match="is outside") as caught:
                files.refuse_foreign(path, {}, within=project)
            assert f"export OBSCTL_TRUST={tmp_path}" in caught.value.hint
            files.refuse_foreign(path, {files.TRUST: str(tmp_path)}, within=project)

    def test_a_link_to_itself_is_told_when_it_is_read(self, project: Path) -> None:
        (project / "loop").symlink_to("loop")
        files.refuse_foreign(project / "loop", {}, within=project)
        assert files.weakness(project / "loop", {}) == ""
        with pytest.raises(OSError, match="symbolic links"):
            files.read(project / "loop")

    def test_for_root_the_files_of_whoever_called_sudo_count(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        caller = os.geteuid() or STRANGER
        if caller == STRANGER:
            os.chown(project / "obsctl.yaml", STRANGER, STRANGER)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert "belongs to" in refusal(project / "obsctl.yaml").message
        monkeypatch.setenv("SUDO_UID", str(caller))
        files.refuse_foreign(project / "obsctl.yaml", {})


class TestWeakness:
    def test_a_file_that_nobody_else_can_replace(self, project: Path) -> None:
        assert files.weakness(project / "obsctl.yaml", {}) == ""

    @pytest.mark.parametrize("which", ["obsctl.yaml", ".", ".."])
    def test_the_whole_way_counts(self, project: Path, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
        give_away(project / which, monkeypatch)
        assert "belongs to" in files.weakness(project / "obsctl.yaml", {})
        assert "export OBSCTL_TRUST=" in files.weakness(project / "obsctl.yaml", {})

    def test_a_folder_that_everybody_can_write(self, project: Path) -> None:
        project.chmod(0o777)
        assert "can be written by everybody" in files.weakness(project / "obsctl.yaml", {})
        project.chmod(0o1777)  # as /tmp: nobody replaces another one's file there
        assert files.weakness(project / "obsctl.yaml", {}) == ""

    def test_a_way_through_a_link(self, project: Path, tmp_path: Path) -> None:
        (tmp_path / "open").mkdir()
        (tmp_path / "open" / "link").symlink_to(project)
        (tmp_path / "open").chmod(0o777)
        assert "everybody" in files.weakness(tmp_path / "open" / "link" / "obsctl.yaml", {})


def fifo(path: Path) -> None:
    os.mkfifo(path)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(files.LARGEST + 1)


class TestRead:
    @pytest.mark.parametrize(
        ("make", "words"),
        [(fifo, "it is no regular file"), (Path.mkdir, "it is a folder"), (huge, "it is larger than 1 MB")],
    )
    def test_what_is_no_file_to_read(self, tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
        make(tmp_path / "file")
        with pytest.raises(OSError, match=words):
            files.read(tmp_path / "file")

    def test_the_largest_that_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x" * files.LARGEST)
        assert len(files.read(tmp_path / "file")) == files.LARGEST


class TestWrite:
    def test_a_file_is_its_owners_alone(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("old")
        (tmp_path / "file").chmod(0o644)
        files.write(tmp_path / "file", "new")
        assert (tmp_path / "file").read_text() == "new"
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600

    def test_a_link_is_replaced_and_where_it_leads_stays(self, tmp_path: Path) -> None:
        (tmp_path / "other").write_text("keep me")
        (tmp_path / "file").symlink_to("other")
        files.write(tmp_path / "file", "new")
        assert (tmp_path / "other").read_text() == "keep me"
        assert not (tmp_path / "file").is_symlink()

    def test_nothing_is_left_of_what_failed(self, tmp_path: Path) -> None:
        (tmp_path / "file").mkdir()
        with pytest.raises(IsADirectoryError):
            files.write(tmp_path / "file", "new")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


class TestLock:
    def test_it_is_made(self, tmp_path: Path) -> None:
        with files.open_lock(tmp_path / "lock") as lock:
            lock.write("1")
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize(("make", "words"), [(fifo, "no regular file"), (Path.mkdir, "directory")])
    def test_something_else_in_its_place(self, tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
        make(tmp_path / "lock")
        with pytest.raises(OSError, match=words):
            files.open_lock(tmp_path / "lock")

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "other").write_text("keep me")
        (tmp_path / "lock").symlink_to("other")
        with pytest.raises(OSError, match="it is a link"):
            files.open_lock(tmp_path / "lock")


def test_a_home_that_is_not_there() -> None:
    assert files.expanded("~/x") == Path.home() / "x"
    with pytest.raises(ObsctlError, match="~no-such-user/x: there is no such home folder"):
        files.expanded("~no-such-user/x")


def test_a_private_folder_is_private_with_those_above_it(tmp_path: Path) -> None:
    files.private_folder(tmp_path / "state" / "crashes")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("state", "state/crashes")] == [0o700, 0o700]
    files.private_folder(tmp_path / "state")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        files.private_folder(tmp_path / "file")
