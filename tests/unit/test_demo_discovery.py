import pytest
import requests
import responses

from obsctl.demo.discovery import Consul, Discovery
from obsctl.errors import Forbidden, NotFound, Rejected, ServerFailed, TimedOut, Unreachable

CONSUL = "http://127.0.0.1:8500"
HEALTH = f"{CONSUL}/v1/health/service/response-service"


class Clock:
    time = 100.0

    def now(self):
        return self.time

    def monotonic(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


@pytest.fixture
def http():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def instance(address, port, node="127.0.0.1"):
    return {"Node": {"Address": node}, "Service": {"Address": address, "Port": port}}


def test_passing_gives_base_urls_of_the_instances_that_pass(http):
    found = [instance("10.0.0.7", 6060), instance("", 6061, node="10.0.0.8"), instance("fd00::1", 6062)]
    http.get(HEALTH, json=found, match=[responses.matchers.query_param_matcher({"passing": "1"})])
    assert Consul(CONSUL).passing("response-service") == (
        "http://10.0.0.7:6060",
        "http://10.0.0.8:6061",
        "http://[fd00::1]:6062",
    )


def test_the_token_is_sent_as_a_header_and_shown_nowhere(http):
    http.get(f"{CONSUL}/v1/kv/key", body=b"value")
    consul = Consul(CONSUL, token="the-secret")
    assert consul.value("key") == b"value"
    assert http.calls[0].request.headers["X-Consul-Token"] == "the-secret"
    assert "the-secret" not in http.calls[0].request.url
    assert "the-secret" not in repr(consul)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 404}, NotFound),
        ({"status": 403}, Forbidden),
        ({"status": 400}, Rejected),
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}, Rejected),
        ({"status": 500, "body": "No cluster leader"}, ServerFailed),
        ({"body": requests.ConnectTimeout()}, TimedOut),
        ({"body": requests.ReadTimeout()}, TimedOut),
        ({"body": requests.ConnectionError("refused")}, Unreachable),
    ],
)
def test_what_consul_refuses_becomes_our_error_with_a_hint(http, answer, error):
    http.get(f"{CONSUL}/v1/kv/key", **answer)
    with pytest.raises(error) as caught:
        Consul(CONSUL, token="the-secret").value("key")
    assert caught.value.hint
    assert "the-secret" not in str(caught.value)


@pytest.mark.parametrize("body", [b"<html>", b"7", b'[{"Service": {}}]'])
def test_an_answer_that_is_not_consuls_is_said_to_be_so(http, body):
    http.get(HEALTH, body=body)
    with pytest.raises(ServerFailed, match="did not answer like Consul"):
        Consul(CONSUL).passing("response-service")


def test_consul_is_asked_once_a_second_and_a_change_is_seen_then(http):
    http.get(HEALTH, json=[instance("10.0.0.1", 1)])
    clock = Clock()
    discovery = Discovery(Consul(CONSUL), clock)
    for _ in range(5):
        assert discovery.pick("response-service") == "http://10.0.0.1:1"
    assert len(http.calls) == 1
    http.replace("GET", HEALTH, json=[instance("10.0.0.2", 2)])
    clock.sleep(1)
    assert discovery.pick("response-service") == "http://10.0.0.2:2"


def test_all_instances_get_their_turn(http):
    http.get(HEALTH, json=[instance("10.0.0.1", 1), instance("10.0.0.2", 2)])
    discovery = Discovery(Consul(CONSUL), Clock())
    picked = {discovery.pick("response-service") for _ in range(100)}
    assert picked == {"http://10.0.0.1:1", "http://10.0.0.2:2"}


def test_no_healthy_instance_is_an_error(http):
    http.get(HEALTH, json=[])
    with pytest.raises(Unreachable, match="no healthy instance of response-service"):
        Discovery(Consul(CONSUL), Clock()).pick("response-service")


def test_while_consul_is_away_the_last_known_instances_are_used(http):
    http.get(HEALTH, json=[instance("10.0.0.1", 1)])
    clock = Clock()
    discovery = Discovery(Consul(CONSUL), clock)
    discovery.pick("response-service")
    http.replace("GET", HEALTH, body=requests.ConnectionError("refused"))
    clock.sleep(60)
    assert discovery.pick("response-service") == "http://10.0.0.1:1"
    discovery.pick("response-service")
    assert len(http.calls) == 2, "a Consul that is away is asked no more often than one that answers"


def test_a_consul_that_never_answered_is_not_asked_at_every_request(http):
    http.get(HEALTH, body=requests.ConnectTimeout())
    discovery = Discovery(Consul(CONSUL), Clock())
    for _ in range(5):
        with pytest.raises(Unreachable):
            discovery.pick("response-service")
    assert len(http.calls) == 1
