"""A user's webhook: what it answers, and that its address shows nowhere."""

import pytest

from obsctl.clients.webhook import post
from tests.stub_server import Answer, stub_server


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(200), ""),
        (Answer(204, b""), ""),
        (Answer(200, b"not JSON"), ""),
        (Answer(302, headers={"Location": "http://other.example/TOKEN"}), "the answer was 302"),
        (Answer(403, b"TOKEN is wrong"), "the answer was 403"),
        (Answer(503), "the answer was 503"),
        (Answer(drop=True), "there was no answer (ServerFailed)"),
    ],
)
def test_what_it_answers(answer, said):
    with stub_server() as server:
        server.answers = [answer]
        assert post(f"{server.address}/TOKEN", {"a": 1}) == said
        assert [(asked.method, asked.path, asked.body) for asked in server.asked] == [("POST", "/TOKEN", b'{"a": 1}')]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/TOKEN", "TOKEN", "http://[TOKEN/", "ftp://TOKEN", "http:///TOKEN", ""]
)
def test_an_address_that_leads_nowhere_is_not_repeated(url):
    said = post(url, {})
    assert said.startswith("there was no answer (")
    assert "TOKEN" not in said
