"""hello-service and response-service, each with the other side played by `responses`."""

import pytest
import requests
import responses
from prometheus_client import CollectorRegistry

from obsctl.demo import hello, response
from obsctl.demo.discovery import Discovery
from obsctl.errors import Forbidden, ServerFailed, TimedOut, Unreachable
from tests.fakes import FakeConsul

KEY = "minion_phrases"
PHRASE = "http://127.0.0.1:6060/phrase"


@pytest.fixture
def http():
    """response-service, as hello-service sees it."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def consul():
    consul = FakeConsul()
    consul.put(KEY, b'["Bello!"]')
    consul.register("response-service", port=6060)
    return consul


class Service:
    """One of the two apps, and its metrics under the names without their prefix."""

    def __init__(self, prefix, create):
        self.prefix = prefix
        self.registry = CollectorRegistry()
        self.http = create(self.registry).test_client()

    def counts(self):
        """(total, successful, failed)"""
        names = ("total_requests", "successful_responses", "failed_responses")
        return tuple(self.registry.get_sample_value(f"{self.prefix}_{name}_total") for name in names)

    def measured(self):
        return self.registry.get_sample_value(f"{self.prefix}_request_duration_seconds_count")


@pytest.fixture
def hello_service(consul):
    return Service("hello_service", lambda registry: hello.create_app(Discovery(consul), registry))


@pytest.fixture
def response_service(consul):
    return Service("response_service", lambda registry: response.create_app(consul, registry, fixed=True))


def test_response_answers_with_a_phrase_of_the_key(consul, response_service):
    consul.put(KEY, b'["Bello!", "Poopaye!"]')
    phrases = {response_service.http.get("/phrase").json["phrase"] for _ in range(50)}
    assert phrases == {"Bello!", "Poopaye!"}
    assert response_service.counts() == (50, 50, 0)
    assert response_service.measured() == 50


@pytest.mark.parametrize(
    "value", ["", "Bello!", "{}", "[]", '["a", 7]', "null", "[" * 100_000], ids=lambda value: value[:9]
)
def test_a_key_that_is_no_list_of_strings_is_answered_500_with_what_to_do(consul, response_service, value):
    consul.put(KEY, value.encode())
    answer = response_service.http.get("/phrase")
    assert answer.status_code == 500
    assert "not a JSON list of strings" in answer.json["error"]
    assert "consul kv put minion_phrases" in answer.json["hint"]
    assert response_service.counts() == (1, 0, 1)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (None, 500, "has no key minion_phrases"),
        (Forbidden, 500, "Consul says why"),
        (ServerFailed, 502, "Consul says why"),
        (Unreachable, 503, "Consul says why"),
        (TimedOut, 503, "Consul says why"),
    ],
)
def test_without_phrases_response_fails_says_why_and_is_not_ready(consul, response_service, error, status, reason):
    consul.delete(KEY)
    if error:
        consul.failures["get"] = error("Consul says why", hint="do something")
    answer = response_service.http.get("/phrase")
    assert answer.status_code == status
    assert reason in answer.json["error"]
    health = response_service.http.get("/health")
    assert health.status_code == 503
    assert reason in health.json["reason"]
    assert response_service.http.get("/alive").status_code == 200
    assert response_service.counts() == (1, 0, 1)


def test_hello_passes_the_phrase_on(http, hello_service):
    http.get(PHRASE, json={"phrase": "Bello!"})
    answer = hello_service.http.get("/hello")
    assert (answer.status_code, answer.json) == (200, {"message": "Hello! Bello!"})
    assert hello_service.counts() == (1, 1, 0)


@pytest.mark.parametrize(
    ("response_says", "status", "reason"),
    [
        ({"body": requests.ConnectionError("refused")}, 503, "cannot be reached"),
        ({"body": requests.ReadTimeout()}, 503, "did not answer in time"),
        ({"status": 500, "json": {"error": "no key"}}, 502, "answered 500: no key"),
        ({"status": 502, "body": "<html>"}, 502, "answered 502"),
        ({"status": 200, "body": "<html>"}, 502, "answered 200"),
        ({"status": 200, "json": ["Bello!"]}, 502, "answered 200"),
    ],
)
def test_hello_fails_with_the_reason_and_stays_ready(http, hello_service, response_says, status, reason):
    http.get(PHRASE, **response_says)
    answer = hello_service.http.get("/hello")
    assert answer.status_code == status
    assert reason in answer.json["error"]
    assert hello_service.counts() == (1, 0, 1)
    assert hello_service.http.get("/health").status_code == 200


def test_every_call_has_its_timeouts(http, hello_service):
    http.get(PHRASE, json={"phrase": "Bello!"})
    hello_service.http.get("/hello")
    assert [call.request.req_kwargs["timeout"] for call in http.calls] == [(1.0, 2.0)]


@pytest.mark.parametrize("name", ["hello_service", "response_service"])
def test_metrics_exist_from_the_start_and_scrapes_are_no_requests(name, request):
    service = request.getfixturevalue(name)
    for path in ("/metrics", "/health", "/alive", "/metrics"):
        service.http.get(path)
    assert service.counts() == (0, 0, 0)
    lines = service.http.get("/metrics").text.splitlines()
    assert f"{name}_total_requests_total 0.0" in lines
    assert f"{name}_request_duration_seconds_count 0.0" in lines


def test_metrics_are_given_as_openmetrics_to_who_asks_for_it(hello_service):
    answer = hello_service.http.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert answer.content_type.startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_a_bug_is_counted_as_a_failure_and_answered_in_json(http, hello_service, monkeypatch):
    def bug(discovery, seconds):
        raise ZeroDivisionError

    monkeypatch.setattr(hello, "ask_for_phrase", bug)
    answer = hello_service.http.get("/hello")
    assert answer.status_code == 500
    assert "error" in answer.json
    assert hello_service.counts() == (1, 0, 1)
