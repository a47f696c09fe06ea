"""obsctl lock against a real registry that stands in the place of Docker Hub."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import plain_environ
from tests.image_registry import PASSWORD, USER, image_registry, with_password
from tests.world import OTHERS_OFF

pytestmark = pytest.mark.real

IMAGES = (("prom/prometheus", "v3.14.0"), ("prom/alertmanager", "v0.34.0"), ("obsctl/obsctl", "0.1.0"))


def obsctl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "obsctl", *arguments],
        cwd=folder,
        env={**plain_environ(), "REGISTRY_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_from_lock_to_the_jobs(tmp_path: Path) -> None:
    with image_registry(tmp_path, with_password(tmp_path)) as registry:
        registry.session.auth = (USER, PASSWORD)
        images = {"registry": f"{registry.host}/hub", "username": USER, "password": "env:REGISTRY_PASSWORD"}
        (tmp_path / "obsctl.yaml").write_text(json.dumps({"images": images, "components": OTHERS_OFF}))
        digests = [registry.push(f"hub/{name}", tag, architectures=("amd64", "arm64")) for name, tag in IMAGES]

        assert obsctl(tmp_path, "lock", "--check").returncode == 1
        written = obsctl(tmp_path, "lock")
        assert written.returncode == 0, written.stderr
        assert obsctl(tmp_path, "lock", "--check").returncode == 0
        jobs = obsctl(tmp_path, "render").stdout
        for (name, _), digest in zip(IMAGES, digests, strict=True):
            assert f'image        = "{registry.host}/hub/{name}@{digest}"' in jobs

        registry.push("hub/prom/prometheus", "v3.14.0", architectures=("arm64",))
        moved = obsctl(tmp_path, "lock", "--check")
        assert (moved.returncode, "prom/prometheus:v3.14.0 (changed)" in moved.stderr) == (1, True)
        assert PASSWORD not in written.stdout + written.stderr + jobs + (tmp_path / "obsctl.lock.yaml").read_text()
