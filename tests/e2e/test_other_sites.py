"""A web page that is open in somebody's browser sends requests from there: it must not read what the stack keeps."""

from __future__ import annotations

import pytest

from tests.deployed_telemetry import Telemetry

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.xdist_group("telemetry")]

ORIGIN = "http://other-site.example"
READS = {
    "prometheus": "/api/v1/query?query=up",
    "victorialogs": "/select/logsql/query?query=*&limit=1",
    "jaeger": "/api/v3/services",
    "alert-sink": "/api/notifications",
}


@pytest.mark.parametrize("program", READS)
def test_a_browser_shows_no_answer_to_another_site(telemetry: Telemetry, program: str) -> None:
    answer = telemetry.http.get(telemetry.address(program) + READS[program], headers={"Origin": ORIGIN}, timeout=10)
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer.headers
