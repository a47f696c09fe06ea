"""A text of obsctl.yaml stays a text in jobs: Nomad's own parser reads each back as it was written."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest

from tests.agents import program
from tests.hostile_texts import ROUNDS, pair, replaced

pytestmark = pytest.mark.real


@cache
def parsed(hcl: str) -> Any:
    """The job as `nomad job run` would send it."""
    argv = [program("nomad"), "job", "run", "-output", "-"]
    done = subprocess.run(argv, input=hcl, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stderr, hcl)
    return json.loads(done.stdout)


@pytest.mark.parametrize("number", ROUNDS)
def test_nomad_reads_it_back_as_it_is(number: int) -> None:
    plain, odd, expected = pair(number)
    pairs = [(before.hcl, after.hcl) for before, after in zip(plain.jobs, odd.jobs, strict=True)]
    with ThreadPoolExecutor(2) as pool:
        read = list(pool.map(lambda texts: [parsed(text) for text in texts], pairs))
    for before, after in read:
        assert after == replaced(before, expected)
