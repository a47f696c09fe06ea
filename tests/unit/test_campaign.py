"""Nothing that a user can write ends as a bug: six kinds of files, broken in many ways.

`make campaign` tries 10,000 inputs, others each time; here it is some hundred, the same each time.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.campaign import INPUTS, Input, inputs, outcome

CAMPAIGN = os.environ.get("CAMPAIGN", "")
NUMBER = int(CAMPAIGN or "510")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for all: compiled templates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.timeout(0 if CAMPAIGN else 300)
@pytest.mark.parametrize("kind", INPUTS)
def test_no_input_is_a_bug(kind: str) -> None:
    codes: Counter[int] = Counter()

    @settings(max_examples=NUMBER // len(INPUTS), derandomize=not CAMPAIGN, database=None,
              phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(inputs(kind))
    def each(given: Input) -> None:
        ended = outcome(given)
        codes[ended.code] += 1
        assert not ended.is_a_bug, (given, ended)

    each()
    assert codes[0], "none was good enough to be looked at whole"
    assert codes[1]
    print(f"{kind}: {codes.total()} inputs, by exit code: {dict(sorted(codes.items()))}")
