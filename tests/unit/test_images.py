"""Images: their names, mirrors, the lock file, and what jobs make of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from obsctl.clients.registry_api import address_of
from obsctl.config.api_servers import Images
from obsctl.errors import ObsctlError, Unreachable
from obsctl.model import Event
from obsctl.stack.checks import check
from obsctl.stack.images import LOCK_FILE, ImageName, Pins, read_lock, resolve, write_lock
from obsctl.stack.render import Rendered, render
from tests.fakes import FakeRegistry
from tests.world import NOWHERE, config

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
NO_TOOLS = {"promtool": None, "amtool": None}


def hcl(rendered: Rendered, component: str) -> str:
    return next(job.hcl for job in rendered.jobs if job.component == component)


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag"),
    [
        ("redis", "docker.io", "library/redis", "latest"),
        ("prom/prometheus:v3.14.0", "docker.io", "prom/prometheus", "v3.14.0"),
        ("docker.io/jaegertracing/jaeger:2.20.0", "docker.io", "jaegertracing/jaeger", "2.20.0"),
        ("quay.io/jaegertracing/jaeger:2.20.0", "quay.io", "jaegertracing/jaeger", "2.20.0"),
        ("localhost/app", "localhost", "app", "latest"),
        ("registry:5000/team/app:1", "registry:5000", "team/app", "1"),
        (f"registry:5000/team/app:1@{ONE}", "registry:5000", "team/app", "1"),
    ],
)
def test_the_parts_of_an_images_name(text: str, registry: str, repository: str, tag: str) -> None:
    name = ImageName.parse(text)
    assert (name.registry, name.repository, name.tag) == (registry, repository, tag)
    assert name.digest == (ONE if "@" in text else "")


@pytest.mark.parametrize(
    ("image", "mirror", "locked", "named"),
    [
        ("prom/prometheus:v3", None, None, "prom/prometheus:v3"),
        ("prom/prometheus:v3", None, {}, "prom/prometheus:v3"),
        ("prom/prometheus:v3", None, {"prom/prometheus:v3": ONE}, f"docker.io/prom/prometheus@{ONE}"),
        ("prom/prometheus:v3", "mirror:5000/hub", None, "mirror:5000/hub/prom/prometheus:v3"),
        ("prom/prometheus:v3", "http://mirror:5000", {"prom/prometheus:v3": ONE}, f"mirror:5000/prom/prometheus@{ONE}"),
        ("redis:8", "mirror.example.org", None, "mirror.example.org/library/redis:8"),
        ("quay.io/x/y:1", "mirror:5000", None, "quay.io/x/y:1"),
        ("quay.io/x/y:1", "mirror:5000", {"quay.io/x/y:1": TWO}, f"quay.io/x/y@{TWO}"),
        (f"x/y:1@{ONE}", None, {}, f"x/y:1@{ONE}"),
        (f"x/y:1@{ONE}", "mirror:5000", None, f"mirror:5000/x/y@{ONE}"),
    ],
)
def test_what_jobs_call_an_image(image: str, mirror: str | None, locked: dict[str, str] | None, named: str) -> None:
    assert Pins(mirror, locked).name(image) == named


@pytest.mark.parametrize(
    ("host", "mirror", "address"),
    [
        ("docker.io", None, "https://registry-1.docker.io"),
        ("quay.io", "http://mirror:5000", "https://quay.io"),
        ("mirror:5000", "mirror:5000/hub", "https://mirror:5000"),
        ("mirror:5000", "http://mirror:5000/hub", "http://mirror:5000"),
        ("127.0.0.1:5000", "127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("127.0.0.1:5000", "https://127.0.0.1:5000", "https://127.0.0.1:5000"),
        ("localhost:5000", None, "http://localhost:5000"),
    ],
)
def test_where_a_registry_has_its_api(host: str, mirror: str | None, address: str) -> None:
    assert address_of(host, mirror) == address


@pytest.mark.parametrize("text", ["mirror:port", "ftp://mirror", "mirror/", "user@mirror", "mirror/Hub", "a b", ""])
def test_what_is_no_registry(text: str) -> None:
    with pytest.raises(ValidationError, match=r"must be like"):
        Images(registry=text)


@pytest.mark.parametrize("given", [{"username": "x"}, {"password": "env:X"}])
def test_a_login_has_a_name_and_a_password(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="give both or neither"):
        Images.model_validate(given)


class TestLockFile:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        file = write_lock(tmp_path, {"b/b:2": TWO, "a/a:1": ONE})
        assert file == tmp_path / LOCK_FILE
        assert file.read_text().splitlines()[1:] == ["images:", f"  a/a:1: {ONE}", f"  b/b:2: {TWO}"]
        assert file.read_text().startswith("# ")
        assert read_lock(tmp_path) == {"a/a:1": ONE, "b/b:2": TWO}
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]

    def test_none_is_not_an_empty_one(self, tmp_path: Path) -> None:
        assert read_lock(tmp_path) is None
        write_lock(tmp_path, {})
        assert read_lock(tmp_path) == {}

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "has no mapping `images`"),
            ("images: []", "has no mapping `images`"),
            ("images: {a/a:1: latest}", r"has no digest at images\.a/a:1"),
            ("images: {a: {b: c}}", r"has no digest at images\.a"),
            ("images: [", "cannot be read: "),
            ("images: \xff", "cannot be read: "),
            ("images: " + "[" * 20_000, "is nested too deeply, or contains itself"),
            ("images: {a: 2026-13-45}", "cannot be read: "),
            (f"images: {{a: {'9' * 5000}}}", "cannot be read: "),
            ("images: {[a]: b}", "cannot be read: "),
            ("images: !!python/object:os.system {}", "cannot be read: "),
            ("#" * 1_000_001, "cannot be read: it is larger than 1 MB"),
        ],
    )
    def test_one_that_is_damaged_says_so_and_what_to_do(self, tmp_path: Path, text: str, words: str) -> None:
        (tmp_path / LOCK_FILE).write_bytes(text.encode("latin-1"))
        with pytest.raises(ObsctlError, match=rf"{LOCK_FILE} {words}") as caught:
            read_lock(tmp_path)
        assert "obsctl lock" in caught.value.hint
        assert "\n" not in caught.value.message

    @pytest.mark.parametrize(("put", "words"), [(os.mkfifo, "it is no regular file"), (Path.mkdir, "it is a folder")])
    def test_something_else_in_its_place(self, tmp_path: Path, put: Callable[[Path], None], words: str) -> None:
        put(tmp_path / LOCK_FILE)
        with pytest.raises(ObsctlError, match=f"{LOCK_FILE} cannot be read: {words}"):
            read_lock(tmp_path)

    def test_a_link_is_replaced_not_written_through(self, tmp_path: Path) -> None:
        (tmp_path / "other").write_text("keep me")
        (tmp_path / LOCK_FILE).symlink_to("other")
        write_lock(tmp_path, {"a/a:1": ONE})
        assert (tmp_path / "other").read_text() == "keep me"

    def test_a_folder_that_cannot_be_written_to(self, tmp_path: Path) -> None:
        with pytest.raises(ObsctlError, match="cannot be written: No such file or directory"):
            write_lock(tmp_path / "gone", {})


class TestRender:
    def stack(self, root: Path = NOWHERE, **keys: Any) -> Rendered:
        return render(config(components={"prometheus": {"image": "prom/prometheus:v3"}}, **keys), root)

    def test_without_a_lock_file_images_are_named_as_configured(self) -> None:
        rendered = self.stack()
        assert 'image        = "prom/prometheus:v3"' in hcl(rendered, "prometheus")
        assert rendered.unlocked == ()
        assert rendered.images == ("obsctl/obsctl:0.1.0", "prom/alertmanager:v0.34.0", "prom/prometheus:v3")

    def test_with_one_by_digest(self, tmp_path: Path) -> None:
        write_lock(tmp_path, {"prom/prometheus:v3": ONE, "prom/alertmanager:v0.34.0": TWO, "obsctl/obsctl:0.1.0": TWO})
        rendered = self.stack(tmp_path, images={"registry": "mirror:5000"})
        assert f'image        = "mirror:5000/prom/prometheus@{ONE}"' in hcl(rendered, "prometheus")
        assert rendered.unlocked == ()
        assert [finding for finding in check(rendered, NO_TOOLS) if finding.where == LOCK_FILE] == []

    def test_an_image_that_the_file_does_not_have_is_a_warning(self, tmp_path: Path) -> None:
        write_lock(tmp_path, {"prom/prometheus:v2": ONE, "prom/alertmanager:v0.34.0": TWO, "obsctl/obsctl:0.1.0": TWO})
        rendered = self.stack(tmp_path)
        assert 'image        = "prom/prometheus:v3"' in hcl(rendered, "prometheus")
        [finding] = [finding for finding in check(rendered, NO_TOOLS) if finding.where == LOCK_FILE]
        assert (finding.severity, finding.hint) == ("warning", "run obsctl lock")
        assert finding.what.startswith("prom/prometheus:v3 is not locked")

    def test_podman_too(self, tmp_path: Path) -> None:
        write_lock(tmp_path, {"prom/prometheus:v3": ONE})
        rendered = self.stack(tmp_path, driver="podman")
        assert f'image        = "docker.io/prom/prometheus@{ONE}"' in hcl(rendered, "prometheus")

    @pytest.mark.parametrize("driver", ["exec", "raw_exec"])
    def test_programs_of_the_node_have_no_image(self, tmp_path: Path, driver: str) -> None:
        write_lock(tmp_path, {})
        rendered = self.stack(tmp_path, driver=driver)
        assert (rendered.images, rendered.unlocked) == ((), ())


def test_each_image_is_asked_for_at_its_own_registry() -> None:
    registries = {"docker.io": FakeRegistry({"prom/prometheus:v3": ONE}), "quay.io": FakeRegistry()}
    events: list[Event] = []
    wanted = ["prom/prometheus:v3", "quay.io/x/y:1", f"x/y@{TWO}"]
    found, failed = resolve(wanted, None, registries.__getitem__, events.append)
    assert found == {"prom/prometheus:v3": ONE}
    assert [(image, error.message) for image, error in failed.items()] == [
        ("quay.io/x/y:1", "the registry has no image x/y:1")
    ]
    assert [event.subject for event in events] == wanted[:2]


def test_a_registry_that_is_down_is_asked_once() -> None:
    class Down(FakeRegistry):
        def digest(self, repository: str, tag: str) -> str:
            self.asked.append(repository)
            raise Unreachable("cannot be reached", hint="")

    down, quay = Down(), FakeRegistry({"c:1": ONE})
    found, failed = resolve(
        ["a:1", "b:1", "quay.io/c:1"], None, {"docker.io": down, "quay.io": quay}.__getitem__, lambda event: None
    )
    assert (found, sorted(failed), down.asked) == ({"quay.io/c:1": ONE}, ["a:1", "b:1"], ["library/a"])


def test_a_mirror_is_asked_in_the_place_of_docker_hub() -> None:
    mirror = FakeRegistry({"hub/prom/prometheus:v3": ONE})
    found, failed = resolve(
        ["prom/prometheus:v3"], "http://mirror:5000/hub", {"mirror:5000": mirror}.__getitem__, lambda event: None
    )
    assert (found, failed) == ({"prom/prometheus:v3": ONE}, {})
