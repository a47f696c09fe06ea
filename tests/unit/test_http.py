"""The session beneath the clients: what it sends, whatever a library or the environment wants, and what it raises."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from obsctl.clients import connect, http
from obsctl.clients.alert_apis import PrometheusClient
from obsctl.clients.endpoint import Endpoint
from obsctl.clients.http import Session
from obsctl.clients.programs import endpoint
from obsctl.config.api_servers import ConsulServer, NomadServer, Tls
from obsctl.errors import (
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    ObsctlError,
    Rejected,
    ServerFailed,
    TimedOut,
    Unreachable,
)
from obsctl.wait import wait_until
from tests.ports import free_port
from tests.stub_server import Answer, StubServer, stub_server

TOKEN = "5ecf7a10-0000-4000-8000-c0ffee5ec4e7"


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with stub_server() as server:
        yield server


def nomad_server(address: str, *, token: str | None = None, timeout: float = 10.0) -> Endpoint:
    return Endpoint(
        name="Nomad", address=address, down="start it", key="nomad", timeout=timeout, token=token,
        token_header="X-Nomad-Token", params={"namespace": "team", "region": None},
    )  # fmt: skip


def failure(stub: StubServer, *answers: Answer, method: str = "GET", timeout: float = 10.0) -> ApiError:
    """What one call of /v1/jobs raises when the server answers like this."""
    stub.answers = list(answers)
    session = Session(nomad_server(stub.address, token=TOKEN, timeout=timeout))
    with pytest.raises(ApiError) as caught:
        session.request(method, "/v1/jobs")
    assert TOKEN not in caught.value.message + caught.value.hint
    assert f"Nomad at {stub.address}" in caught.value.message
    assert f"({method} /v1/jobs)" in caught.value.message
    return caught.value


class TestWhatIsSent:
    def test_the_token_goes_into_the_header_and_nowhere_else(self, stub: StubServer) -> None:
        Session(nomad_server(stub.address, token=TOKEN)).request("GET", "/v1/jobs")
        [asked] = stub.asked
        assert asked.headers["x-nomad-token"] == TOKEN
        assert TOKEN not in json.dumps([asked.path, asked.params, asked.body.decode()])

    def test_the_token_is_not_in_the_repr_of_the_server(self) -> None:
        assert TOKEN not in repr(nomad_server("http://127.0.0.1:1", token=TOKEN))

    def test_a_token_that_no_header_can_carry_is_refused_without_repeating_it(self) -> None:
        with pytest.raises(ObsctlError, match=r"nomad\.token holds characters") as caught:
            Session(nomad_server("http://127.0.0.1:1", token=f"{TOKEN}\n"))
        assert TOKEN not in str(caught.value)

    def test_the_configured_parameters_win_and_none_takes_one_away(self, stub: StubServer) -> None:
        session = Session(nomad_server(stub.address))
        session.get("/v1/jobs", params={"namespace": "other", "region": "other", "meta": "true"})
        assert stub.asked[0].params == {"namespace": "team", "meta": "true"}

    @pytest.mark.parametrize(("within", "waits"), [(2.5, 2.5), (20.0, 7)])
    def test_a_call_may_wait_less_than_the_timeout_and_not_more(
        self, stub: StubServer, monkeypatch: pytest.MonkeyPatch, within: float, waits: float
    ) -> None:
        seen = {}
        monkeypatch.setattr("requests.Session.send", lambda self, request, **kwargs: seen.update(kwargs) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Session(nomad_server(stub.address, timeout=7)).request("GET", "/", within=within)
        assert seen["timeout"] == (5.0, waits)

    def test_a_library_cannot_turn_off_checks(self, stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = {}
        monkeypatch.setattr("requests.Session.send", lambda self, request, **kwargs: seen.update(kwargs) or 1 / 0)
        session = Session(nomad_server(stub.address, timeout=7))
        with pytest.raises(ZeroDivisionError):
            session.get("/", timeout=None, verify=False, cert=("a", "b"), allow_redirects=True)
        assert seen["timeout"] == (5.0, 7)
        assert seen["verify"]
        assert seen["cert"] is None
        assert seen["allow_redirects"] is False

    def test_the_environment_counts_for_nothing(self, stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
        nowhere = f"http://127.0.0.1:{free_port()}"
        for name in ("NOMAD_ADDR", "CONSUL_HTTP_ADDR", "http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, nowhere)
        for name in ("NOMAD_TOKEN", "NOMAD_NAMESPACE", "NOMAD_REGION", "CONSUL_HTTP_TOKEN", "CONSUL_NAMESPACE"):
            monkeypatch.setenv(name, "from-environment")
        stub.answers = [Answer(body=b"[]", headers={"X-Consul-Index": "7", "X-Nomad-Index": "7"})]
        nomad = connect.nomad(NomadServer(address=stub.address))
        consul = connect.consul(ConsulServer(address=stub.address))
        nomad.jobs(), nomad.nodes(), consul.health("web"), consul.entries("obsctl/")
        assert len(stub.asked) == 4
        for asked in stub.asked:
            assert "from-environment" not in json.dumps([asked.headers, asked.params])

    def test_tokens_of_the_configuration_beat_those_of_the_environment(
        self, stub: StubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NOMAD_TOKEN", "from-environment")
        monkeypatch.setenv("CONSUL_HTTP_TOKEN", "from-environment")
        stub.answers = [Answer(body=b"[]", headers={"X-Consul-Index": "7", "X-Nomad-Index": "7"})]
        connect.nomad(NomadServer(address=stub.address), token=TOKEN).jobs()
        connect.consul(ConsulServer(address=stub.address), token=TOKEN).entries("obsctl/")
        sent = [asked.headers.get("x-nomad-token") or asked.headers.get("x-consul-token") for asked in stub.asked]
        assert sent == [TOKEN, TOKEN]

    def test_namespace_and_region_are_part_of_every_nomad_call(self, stub: StubServer) -> None:
        keys = ("EvalID", "ID", "JobID", "JobModifyIndex", "Name", "Namespace", "Status", "TaskGroups")
        stub.answers = [Answer(body=json.dumps(dict.fromkeys(keys, "x")).encode())]
        nomad = connect.nomad(NomadServer(address=stub.address, namespace="team", region="eu"))
        nomad.parse_job("job")
        nomad.plan_job({"ID": "x"})
        nomad.job("x")
        nomad.register_job({"ID": "x"})
        nomad.stop_job("x")
        nomad.evaluation("e")
        nomad.job_deployment("x")
        nomad.allocation("a")
        nomad.task_logs("a", "t")
        nomad.node("n")
        nomad.put_variable("p", {})
        assert len(stub.asked) == 11
        assert {(asked.params["namespace"], asked.params["region"]) for asked in stub.asked} == {("team", "eu")}

    def test_the_datacenter_is_part_of_every_consul_call(self, stub: StubServer) -> None:
        stub.answers = [Answer(body=b"[]", headers={"X-Consul-Index": "7"})]
        consul = connect.consul(ConsulServer(address=stub.address, datacenter="dc2"))
        consul.entries("obsctl/"), consul.health("web"), consul.watch("obsctl/", index=1, wait=0)
        assert [asked.params["dc"] for asked in stub.asked] == ["dc2"] * 3

    def test_a_job_id_is_one_part_of_the_path(self, stub: StubServer) -> None:
        stub.answers = [Answer(body=b'{"ID": "batch/dispatch-1?x"}')]
        connect.nomad(NomadServer(address=stub.address)).job("batch/dispatch-1?x")
        assert stub.asked[0].path == "/v1/job/batch%2Fdispatch-1%3Fx"

    def test_a_redirect_is_not_followed(self, stub: StubServer) -> None:
        with stub_server() as elsewhere:
            location = f"{elsewhere.address}/v1/jobs?secret=1"
            error = failure(stub, Answer(status=307, headers={"Location": location}))
            assert elsewhere.asked == []
            assert isinstance(error, Rejected)
            assert f"a redirect to {elsewhere.address}/v1/jobs" in error.message


class TestAnswers:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [(400, Rejected), (401, Forbidden), (403, Forbidden), (404, NotFound), (409, Conflict), (413, Rejected),
         (429, Rejected), (500, ServerFailed), (503, ServerFailed)],
    )  # fmt: skip
    def test_a_status_becomes_an_error_with_the_servers_words(
        self, stub: StubServer, status: int, kind: type[ApiError]
    ) -> None:
        error = failure(stub, Answer(status=status, body=b"no\n  such luck"))
        assert type(error) is kind
        assert f"answered {status}: no such luck" in error.message
        assert error.hint

    def test_long_words_are_cut(self, stub: StubServer) -> None:
        error = failure(stub, Answer(status=500, body=b"x" * 5000))
        assert "x" * 300 in error.message
        assert "x" * 301 not in error.message

    def test_a_token_that_the_server_repeats_is_hidden(self, stub: StubServer) -> None:
        error = failure(stub, Answer(status=403, body=f"token {TOKEN} is unknown".encode()))
        assert "token *** is unknown" in error.message

    def test_of_a_json_error_only_the_words_are_shown(self, stub: StubServer) -> None:
        body = b'{"status":"error","errorType":"bad_data","error":"1:4: parse error"}'
        assert "answered 400: 1:4: parse error (" in failure(stub, Answer(status=400, body=body)).message

    def test_forbidden_says_whether_a_token_is_missing_or_wrong(self, stub: StubServer) -> None:
        stub.answers = [Answer(status=403)]
        with pytest.raises(Forbidden) as without:
            connect.nomad(NomadServer(address=stub.address)).jobs()
        with pytest.raises(Forbidden) as wrong:
            connect.nomad(NomadServer(address=stub.address), token=TOKEN).jobs()
        assert "set nomad.token" in without.value.hint
        assert "nomad.token is unknown" in wrong.value.hint
        assert 'the call takes: namespace "default" { capabilities = ["list-jobs"] }' in wrong.value.hint

    def test_the_other_sides_secrets_are_not_repeated_when_a_variable_conflicts(self, stub: StubServer) -> None:
        stub.answers = [Answer(status=409, body=b'{"Items":{"password":"hunter2"}}')]
        nomad = connect.nomad(NomadServer(address=stub.address))
        with pytest.raises(Conflict) as caught:
            nomad.put_variable("nomad/jobs/x", {"password": "mine"}, cas=3)
        assert "hunter2" not in caught.value.message
        assert "mine" not in caught.value.message

    def test_a_page_instead_of_json_is_a_failed_server(self, stub: StubServer) -> None:
        error = failure(stub, Answer(body=b"<html>Please log in</html>", headers={"Content-Type": "text/html"}))
        assert isinstance(error, ServerFailed)
        assert "not JSON: <html>Please log in</html>" in error.message

    def test_json_deeper_than_anybody_reads_is_a_failed_server(self, stub: StubServer) -> None:
        error = failure(stub, Answer(body=b"[" * 100_000))
        assert isinstance(error, ServerFailed)
        assert failure(stub, Answer(500, b"[" * 100_000)).message

    def test_an_answer_of_another_program_is_no_answer_of_consul(self, stub: StubServer) -> None:
        consul = connect.consul(ConsulServer(address=stub.address))
        for read in (lambda: consul.get("a"), lambda: consul.watch("a", index=1, wait=0)):
            with pytest.raises(ServerFailed, match=r"without an index|otherwise than Consul"):
                read()

    def test_the_servers_clock_is_its_date_header(self, stub: StubServer) -> None:
        stub.answers = [Answer(headers={"Date": "Fri, 13 Feb 2009 23:31:30 GMT"})]
        assert PrometheusClient(endpoint("prometheus", stub.address)).server_time() == 1234567890.0

    def test_a_server_without_a_clock(self, stub: StubServer) -> None:
        with pytest.raises(ServerFailed, match="no usable Date header"):
            PrometheusClient(endpoint("prometheus", stub.address)).server_time()


class TestNoAnswer:
    def test_nobody_listens(self) -> None:
        nomad = connect.nomad(NomadServer(address=f"http://127.0.0.1:{free_port()}"))
        with pytest.raises(Unreachable, match=r"cannot be reached: Connection refused \(GET /v1/jobs\)") as caught:
            nomad.jobs()
        assert "obsctl dev up" in caught.value.hint
        assert "nomad.address" in caught.value.hint

    def test_silence(self, stub: StubServer) -> None:
        error = failure(stub, Answer(hold=30), timeout=0.2)
        assert type(error) is TimedOut
        assert "did not answer within 0.2 s" in error.message
        assert "nomad.timeout" in error.hint
        wait_until(
            lambda: stub.asked, timeout=10, failure="no sign of the request, which may still be on its way", hint=""
        )
        assert len(stub.asked) == 1

    def test_a_blocking_query_may_take_its_wait_on_top(self, stub: StubServer) -> None:
        stub.answers = [Answer(body=b"[]", headers={"X-Consul-Index": "9"}, hold=0.5)]
        consul = connect.consul(ConsulServer.model_validate({"address": stub.address, "timeout": "200ms"}))
        assert consul.watch("obsctl/", index=4, wait=1) == (9, [])
        assert stub.asked[0].params == {"recurse": "", "index": "4", "wait": "1000ms"}

    def test_a_wait_is_cut_to_what_every_consul_can_do(self, stub: StubServer) -> None:
        stub.answers = [Answer(body=b"[]", headers={"X-Consul-Index": "9"})]
        connect.consul(ConsulServer(address=stub.address)).watch("obsctl/", index=4, wait=300)
        assert stub.asked[0].params["wait"] == "25000ms"

    def test_a_read_is_tried_again_when_the_connection_drops(self, stub: StubServer) -> None:
        stub.answers = [Answer(drop=True), Answer(body=b"[]")]
        assert Session(nomad_server(stub.address)).get("/v1/jobs").json() == []
        assert len(stub.asked) == 2

    def test_a_read_is_tried_again_only_once(self, stub: StubServer) -> None:
        error = failure(stub, Answer(drop=True))
        assert type(error) is ServerFailed
        assert "broke off its answer" in error.message
        assert len(stub.asked) == 2

    @pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
    def test_a_write_is_never_repeated_and_its_outcome_is_left_open(self, stub: StubServer, method: str) -> None:
        error = failure(stub, Answer(drop=True), method=method)
        assert type(error) is ServerFailed
        assert "the change may have been made all the same" in error.message
        assert len(stub.asked) == 1

    @pytest.mark.parametrize(("limit", "value"), [("LARGEST_ANSWER", 1_000_000), ("LONGEST_ANSWER", 0.2)])
    def test_an_answer_without_end(
        self, stub: StubServer, limit: str, value: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http, limit, value)
        error = failure(stub, Answer(body=b" " * 10_000, promise=10**12, endless=True))
        assert type(error) is ServerFailed
        assert "that is no answer" in error.message

    def test_half_an_answer(self, stub: StubServer) -> None:
        error = failure(stub, Answer(body=b'{"a":', promise=100))
        assert type(error) is ServerFailed
        assert "broke off its answer" in error.message

    def test_silence_after_a_write(self, stub: StubServer) -> None:
        error = failure(stub, Answer(hold=30), method="PUT", timeout=0.2)
        assert type(error) is TimedOut
        assert "the change may have been made all the same" in error.message

    @pytest.mark.parametrize(
        "tls", [Tls(ca_file="/no/such/ca.pem"), Tls(cert_file="/no/such/cert.pem", key_file="/no/such/key.pem")]
    )
    def test_a_certificate_file_that_is_not_there(self, tls: Tls) -> None:
        nomad = connect.nomad(NomadServer(address="https://127.0.0.1:1", tls=tls))
        with pytest.raises(Unreachable, match="/no/such/") as caught:
            nomad.jobs()
        assert "nomad.tls.ca_file" in caught.value.hint
