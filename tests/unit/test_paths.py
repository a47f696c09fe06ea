"""No path of a call becomes another one on its way, whoever made it."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obsctl.clients.endpoint import Endpoint
from obsctl.clients.http import Session
from obsctl.clients.paths import quoted
from obsctl.errors import Rejected
from tests.stub_server import Answer, stub_server

# Names as an attacker would write them: many dots, slashes and quotes.
NAMES = st.text(st.sampled_from("./%2eEfF5?#;\\ a\n\ud800😀"), max_size=12) | st.text(max_size=12)


@given(NAMES)
def test_a_quoted_name_is_one_part_and_comes_back_exactly_or_is_refused(name: str) -> None:
    try:
        part = quoted(name)
    except Rejected:
        return
    assert not set("/?#") & set(part)
    assert unquote(part) == name
    assert not {"", ".", ".."} & set(name.split("/"))


@pytest.mark.parametrize("path", ["/v1/kv/a/../../agent/leave", "/v1/kv/%2e%2e/%2e%2e/agent/leave", "/v1/kv/a%2F..%2Fb",
                                  "/v1//agent", "/v1/./agent"])  # fmt: skip
def test_the_session_sends_no_path_that_leads_elsewhere(path: str) -> None:
    with stub_server() as stub:
        with pytest.raises(Rejected):
            Session(Endpoint("Consul", stub.address, down="start it")).request("PUT", path)
        assert stub.asked == []


def test_a_name_arrives_as_it_was_sent() -> None:
    with stub_server() as stub:
        stub.answers = [Answer(200, b"{}")]
        name = "a b%2e%2e?x#y/ü😀"
        Session(Endpoint("Consul", stub.address, down="start it")).request("GET", f"/v1/kv/{quoted(name)}")
        assert stub.asked[0].path in (f"/v1/kv/{name}", f"/v1/kv/{quote(name, safe='')}")


def test_what_is_no_text_is_refused_in_a_query_too() -> None:
    with stub_server() as stub, pytest.raises(Rejected, match="characters that no text has"):
        Session(Endpoint("Nomad", stub.address, down="start it")).request("GET", "/v1/jobs", params={"a": "\udcff"})
