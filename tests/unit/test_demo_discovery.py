import pytest
import responses

from obsctl.demo.discovery import Discovery, consul_at
from obsctl.errors import Forbidden, ServerFailed, TimedOut, Unreachable
from tests.fakes import FakeClock, FakeConsul

SERVICE = "response-service"


@pytest.fixture
def consul():
    consul = FakeConsul()
    consul.register(SERVICE, instance="a", port=1)
    return consul


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def discovery(consul, clock):
    return Discovery(consul, clock)


def test_what_another_stack_runs_does_not_count(consul, clock):
    consul.register(SERVICE, instance="a", port=1, meta={"obsctl_stack": "other"})
    assert not Discovery(consul, clock, stack="obs").has(SERVICE)
    assert Discovery(consul, clock, stack="other").has(SERVICE)
    assert Discovery(consul, clock).has(SERVICE)


def test_calls_of_consul_have_short_timeouts_and_the_token_stands_in_a_header():
    with responses.RequestsMock() as http:
        http.get("http://127.0.0.1:8500/v1/status/leader", json="127.0.0.1:8300")
        consul_at("http://127.0.0.1:8500", token="the-secret").leader()
        request = http.calls[0].request
    assert request.req_kwargs["timeout"] == (1.0, 2.0)
    assert request.headers["X-Consul-Token"] == "the-secret"
    assert "the-secret" not in request.url


def test_what_consul_does_not_allow_has_a_hint_for_who_started_the_program():
    with responses.RequestsMock() as http:
        http.get("http://127.0.0.1:8500/v1/kv/key", status=403)
        with pytest.raises(Forbidden) as caught:
            consul_at("http://127.0.0.1:8500", token="the-secret").get("key")
    assert "--consul" in caught.value.hint
    assert "CONSUL_HTTP_TOKEN" in caught.value.hint


STRANGE = ["null", "5", '"abc"', '["a"]', "[{}]", '{"a": 1}', '[{"Node": {}, "Service": {}, "Checks": null}]']


@pytest.mark.parametrize("body", STRANGE)
def test_an_answer_that_is_not_consuls_is_an_error_of_that_server_and_the_last_instances_are_used(body, clock):
    good = [{"Node": {"Address": "127.0.0.1"}, "Service": {"ID": "a", "Address": "", "Port": 1}, "Checks": []}]
    address = f"http://127.0.0.1:8500/v1/health/service/{SERVICE}"
    with responses.RequestsMock() as http:
        http.get(address, json=good, headers={"X-Consul-Index": "1"})
        http.get(address, body=body, headers={"X-Consul-Index": "2"})
        discovery = Discovery(consul_at("http://127.0.0.1:8500", token="t"), clock)
        assert discovery.pick(SERVICE) == "http://127.0.0.1:1"
        clock.sleep(2)
        assert discovery.pick(SERVICE) == "http://127.0.0.1:1"
        assert len(http.calls) == 2


@pytest.mark.parametrize("body", STRANGE)
def test_a_key_in_an_answer_that_is_not_consuls_is_an_error_of_that_server(body):
    with responses.RequestsMock() as http:
        http.get("http://127.0.0.1:8500/v1/kv/key", body=body, headers={"X-Consul-Index": "1"})
        with pytest.raises(ServerFailed):
            consul_at("http://127.0.0.1:8500", token="t").get("key")


def test_consul_is_asked_once_a_second_and_a_change_is_seen_then(consul, clock, discovery):
    for _ in range(5):
        assert discovery.pick(SERVICE) == "http://127.0.0.1:1"
    assert len(consul.called("health")) == 1
    consul.register(SERVICE, instance="a", port=2)
    clock.sleep(1)
    assert discovery.pick(SERVICE) == "http://127.0.0.1:2"


def test_all_healthy_instances_get_their_turn(consul, discovery):
    consul.register(SERVICE, instance="b", port=2)
    consul.register(SERVICE, instance="c", port=3, status="critical")
    picked = {discovery.pick(SERVICE) for _ in range(100)}
    assert picked == {"http://127.0.0.1:1", "http://127.0.0.1:2"}


def test_no_healthy_instance_is_an_error(consul, discovery):
    consul.register(SERVICE, instance="a", status="critical")
    with pytest.raises(Unreachable, match="no healthy instance of response-service"):
        discovery.pick(SERVICE)
    assert not discovery.has(SERVICE)


@pytest.mark.parametrize("kind", [Unreachable, TimedOut, ServerFailed])
def test_while_consul_is_away_the_last_known_instances_are_used(consul, clock, discovery, kind):
    discovery.pick(SERVICE)
    consul.failures["*"] = kind("no answer", hint="start it")
    clock.sleep(60)
    for _ in range(2):
        assert discovery.pick(SERVICE) == "http://127.0.0.1:1"
    assert len(consul.called("health")) == 2, "a Consul that is away is asked no more often than one that answers"


def test_a_consul_that_never_answered_is_not_asked_at_every_request(consul, discovery):
    consul.failures["*"] = TimedOut("no answer", hint="start it")
    for _ in range(5):
        with pytest.raises(Unreachable):
            discovery.pick(SERVICE)
    assert len(consul.called("health")) == 1


def test_a_consul_that_forbids_it_is_not_taken_for_one_that_knows_nothing(consul, discovery):
    consul.failures["*"] = Forbidden("not allowed", hint="give a token")
    with pytest.raises(Forbidden):
        discovery.pick(SERVICE)
    assert not discovery.has(SERVICE)
