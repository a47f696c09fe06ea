"""PromQL is read, and what would hang or crash the parser is refused."""

from __future__ import annotations

import pytest

from obsctl.content import promql


@pytest.mark.parametrize(
    "expression",
    ["(" * 100_000 + "up" + ")" * 100_000, "up" + " + up" * 30_000, "-" * 100_000 + "up", "up or " * 1000 + "up"],
    ids=["brackets", "sum", "signs", "or"],
)
def test_too_many_operations_are_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="more than"):
        promql.parse(expression)


def test_signs_in_a_text_are_none() -> None:
    assert promql.parse('up{instance=~"' + "a-b|" * 1000 + '"} == 1')
