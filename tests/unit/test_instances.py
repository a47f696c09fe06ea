"""What Consul says of an instance."""

from __future__ import annotations

import pytest

from obsctl.clients.instances import url


@pytest.mark.parametrize(
    ("own", "node", "found"),
    [
        ("10.0.0.7", "10.0.0.8", "http://10.0.0.7:80"),
        ("", "10.0.0.8", "http://10.0.0.8:80"),
        ("fd00::1", "", "http://[fd00::1]:80"),
    ],
)
def test_where_it_listens(own: str, node: str, found: str) -> None:
    assert url({"Service": {"Address": own, "Port": 80}, "Node": {"Address": node}}) == found
