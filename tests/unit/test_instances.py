"""What Consul says of an instance."""

from __future__ import annotations

import pytest

from obsctl.clients.instances import allocation_id, url

UUID = "4d1c25ab-91f2-7a56-03a4-1a3e4cbb2a63"


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


@pytest.mark.parametrize(
    ("service_id", "allocation"),
    [
        (f"_nomad-task-{UUID}-group-web-web-http", UUID),
        (f"_nomad-client-{UUID}", ""),
        ("web-1", ""),
    ],
)
def test_which_allocation_registered_it(service_id: str, allocation: str) -> None:
    assert allocation_id({"Service": {"ID": service_id}}) == allocation
