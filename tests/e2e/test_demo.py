"""`make demo` in a fresh clone, to the letter, in a network of its own so that no port is taken."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import plain_environ
from tests.own_network import LOOPBACK_UP, UNSHARE

pytestmark = [pytest.mark.real, pytest.mark.timed, pytest.mark.timeout(600), pytest.mark.xdist_group("demo")]

REPOSITORY = Path(__file__).parents[2]
SCRIPT = """
python3 loopback_up.py
make demo > first.log 2>&1; echo $? > first.code
make demo > second.log 2>&1; echo $? > second.code
make demo-down > down.log 2>&1; echo $? > down.code
.venv/bin/obsctl dev down --purge --yes
"""


@pytest.fixture
def clone() -> Iterator[Path]:
    """A fresh clone with obsctl installed; its path is short, as Nomad's sockets want it."""
    folder = Path(tempfile.mkdtemp(prefix="obsctl-demo-", dir="/tmp"))
    try:
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder / "c")], check=True)
        subprocess.run(["make", "install"], cwd=folder / "c", check=True, capture_output=True)
        yield folder / "c"
    finally:
        shutil.rmtree(folder)


def test_the_demo_ends_proven_and_a_second_one_changes_nothing(clone: Path) -> None:
    (clone / "loopback_up.py").write_text(LOOPBACK_UP)
    subprocess.run(
        [*UNSHARE, "sh", "-c", SCRIPT],
        cwd=clone, env={**plain_environ(), "XDG_STATE_HOME": str(clone.parent / "s")}, check=False,
    )  # fmt: skip

    first, second = (clone / "first.log").read_text(), (clone / "second.log").read_text()
    codes = [(clone / f"{name}.code").read_text().strip() for name in ("first", "second", "down")]
    assert codes == ["0", "0", "0"], f"{first}\n{second}"
    assert "changes made" in first
    assert "Nothing to change" in second
    for said in (first, second):
        assert re.search(r"^PROVEN: delivered .* s after the fault", said, re.MULTILINE), said
        assert "http://127.0.0.1:8099" in said
        assert "make demo-down" in said
