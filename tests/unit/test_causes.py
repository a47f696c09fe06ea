"""Why an allocation is not healthy: what servers of two versions really said, and the sentence that it becomes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from obsctl.model import Json
from obsctl.stack.causes import cause
from obsctl.stack.facts import Cause, Facts, Need, needs

RECORDED = {
    file.stem: json.loads(file.read_text()) for file in (Path(__file__).parent / "recorded_causes").glob("*.json")
}


@pytest.fixture(params=sorted(RECORDED))
def recorded(request: pytest.FixtureRequest) -> dict[str, Json]:
    """Allocations of jobs that were made to fail, on servers of this version."""
    of_version: dict[str, Json] = RECORDED[request.param]
    return of_version


def job(name: str) -> Json:
    task = {"Name": "t", "Resources": {"MemoryMB": 30}}
    return {"ID": name, "Type": "service", "SubmitTime": 0, "TaskGroups": [{"Name": "g", "Tasks": [task]}]}


def explained(allocation: Json, later: float = 3.0, **known: Any) -> Cause:
    """later: seconds since the newest event."""
    newest = max(event["Time"] for event in allocation["TaskStates"]["t"]["Events"]) / 1e9
    said = cause(Facts(job(allocation["JobID"]), allocation, newest + later, **known))
    assert said, "no cause"
    assert f"{allocation['JobID']}: task g/t on node-1 " in said.sentence
    assert said.hint
    return said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("crash", r"ended with exit code 3; its last line: last words"),
        ("crashsig", r"was killed by signal 9; its last line: last words"),
        ("nocmd", r"cannot start: failed to launch .*/nonexistent/prog"),
        ("nouser", r"cannot start: .*unknown user nosuchuser"),
        ("artifact", r"cannot start: failed to download artifact"),
        ("image404", r"cannot get the image 127\.0\.0\.1:\d+/nope:1: Failed to pull.*manifest unknown"),
        ("imagelocal", r"cannot get the image registry.test:15998/nope:1: .*network is unreachable"),
        ("tmplbad", r"has a template that fails: Template failed: .*nosuch"),
    ],
)
def test_what_failed_is_certain(recorded: dict[str, Json], name: str, words: str) -> None:
    said = explained(recorded[name], logs={"t": "first\nlast words\n\n"})
    assert said.certain
    assert re.search(words, said.sentence), said.sentence


def test_a_key_that_does_not_exist_is_certain_at_once(recorded: dict[str, Json]) -> None:
    awaited = needs(recorded["key"], "t")
    assert awaited == [Need("key", "obsctl/none"), Need("key", "obsctl/none2")]
    said = explained(recorded["key"], 0.0, there={awaited[0]: 0.0, awaited[1]: None})
    assert said.certain
    assert said.sentence.endswith("waits in a template for Consul's key obsctl/none2, which does not exist")


def test_so_is_a_variable(recorded: dict[str, Json]) -> None:
    [need] = needs(recorded["nvar"], "t")
    said = explained(recorded["nvar"], 0.0, there={need: None})
    assert said.certain
    assert "the Nomad Variable nomad/jobs/nvar, which does not exist" in said.sentence


@pytest.mark.parametrize(("seconds", "certain"), [(3.0, False), (25.0, True)])
def test_one_that_has_been_there_for_long_may_not_be_read(
    recorded: dict[str, Json], seconds: float, certain: bool
) -> None:
    """The template has had time to read it: Nomad tells no refusal before minutes have passed."""
    said = explained(recorded["key"], there=dict.fromkeys(needs(recorded["key"], "t"), seconds))
    assert said.certain == certain
    assert "which is there: it seems that its token may not read it" in said.sentence


def test_a_deployment_that_has_its_deadline_behind_it_still_waits(recorded: dict[str, Json]) -> None:
    late = json.loads(json.dumps(recorded["key"]))
    late["TaskStates"]["t"]["Events"].append({"Type": "Alloc Unhealthy", "Time": 10**19})
    assert needs(late, "t")


def test_what_obsctl_may_not_look_up_is_awaited(recorded: dict[str, Json]) -> None:
    assert not explained(recorded["key"], 99.0).certain


@pytest.mark.parametrize(
    ("text", "name"), [("nobody@dc9|passing", "nobody@dc9"), ("http.web|any", "http.web"), ("web|passing", "web")]
)
@pytest.mark.parametrize(("seconds", "certain"), [(3.0, False), (25.0, True)])
def test_an_answer_about_a_service_comes_soon_or_never(
    recorded: dict[str, Json], text: str, name: str, seconds: float, certain: bool
) -> None:
    """A template waits for the answer, which may be that there is no instance. Of a datacenter that Consul does not
    know it gets none."""
    waiting = with_events(
        recorded["key"],
        {"Type": "Template", "Time": 10**18, "DisplayMessage": f"Missing: health.service({text})"},
    )
    [need] = needs(waiting, "t")
    said = explained(waiting, there={need: seconds})
    assert said.certain == certain
    assert f"waits in a template for the service {name}, about which Consul gives it no answer" in said.sentence


def test_a_key_of_another_datacenter_is_not_looked_up_here(recorded: dict[str, Json]) -> None:
    waiting = with_events(
        recorded["key"], {"Type": "Template", "Time": 10**18, "DisplayMessage": "Missing: kv.block(some/key@dc9)"}
    )
    assert needs(waiting, "t") == [Need("", "kv.block(some/key@dc9)")]


def test_out_of_memory_is_said_where_nomad_knows_it() -> None:
    said = explained(RECORDED["2.0.5"]["oomexec"])
    assert said.certain
    assert "ran out of its memory of 30 MB" in said.sentence


def test_else_a_kill_hints_at_it() -> None:
    said = explained(RECORDED["1.6.1"]["oomexec"])
    assert "was killed by signal 9; its log is empty" in said.sentence
    assert "out of memory" in said.hint


REFUSED = "Consul answered 403: Permission denied: token with AccessorID '1' lacks permission 'key:read' on \"x\""


@pytest.mark.parametrize(
    ("log", "holders", "words"),
    [
        ("listen tcp 0.0.0.0:9090: bind: address already in use", {9090: "shop"}, "port 9090 is taken by the job shop"),
        ("listen tcp :9090: bind: address already in use", {}, "port 9090 is taken by a program of no other job that"),
        (
            "2026-11-28T06:17:54.870Z\tfatal\thttpserver.go:150\tcannot start http server at 10.0.0.22:8428: "
            "listen tcp 10.0.0.22:8428: bind: address already in use",
            {8428: "shop"},
            "port 8428 is taken by the job shop",
        ),
        ("OSError: [Errno 98] Address already in use", {}, "a port is taken"),
        ("open /data/lock: permission denied", {}, "may not write its data: open /data/lock: permission denied"),
        ("mkdir /data/x: read-only file system", {}, "may not write its data: mkdir"),
        ("write /data/x: no space left on device", {}, "has no room left on its disk: write /data/x"),
        (f"error: {REFUSED}", {}, f"ends with an error, and is refused what it asks: error: {REFUSED}"),
        (f"{REFUSED}\n1\n2\n3\n4\n5", {}, "ended with exit code 3; its last line: bye"),
        ("listen tcp :80: bind: permission denied", {}, "ended with exit code 3"),
    ],
)
def test_a_program_s_last_words_tell_more(
    recorded: dict[str, Json], log: str, holders: dict[int, str], words: str
) -> None:
    said = explained(recorded["crash"], logs={"t": f"starting\n{log}\nbye"}, holders=holders)
    assert words in said.sentence
    assert said.certain


@pytest.mark.parametrize("form", ["API error ({status}): {said}", "Error response from daemon: {said}"])
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, 'Head "http://127.0.0.1:5500/v2/nope/manifests/1": no basic auth credentials'),
        (500, 'Head "http://127.0.0.1:5500/v2/nope/manifests/1": unauthorized: authentication required'),
        (500, 'Head "http://127.0.0.1:5500/v2/nope/manifests/1": denied: requested access to the resource is denied'),
        (500, 'Head "http://127.0.0.1:5500/v2/nope/manifests/1": denied'),
        (500, "unauthorized: authentication required"),
        (500, "denied"),
        (
            404,
            "pull access denied for 127.0.0.1:5500/nope, repository does not exist or may require 'docker login': "
            "denied: requested access to the resource is denied",
        ),
    ],
)
def test_a_registry_that_refuses_is_certain_at_once(form: str, status: int, said: str) -> None:
    """As Docker 20.10.24 says it of a registry, or of the server of its tokens, that answers 401 or 403 without a login
    or with a wrong one. The two forms are those of Nomad 1.6.1 and 2.0.5."""
    text = f"Failed to pull `127.0.0.1:5500/nope:1`: {form.format(status=status, said=said)}"
    event = {"Type": "Driver Failure", "Time": 10**18, "Details": {"driver_error": text}}
    refused = explained(with_events(dict(RECORDED["2.0.5"]["image404"], ClientStatus="pending"), event))
    assert refused.certain
    assert refused.sentence.endswith(f"cannot get the image 127.0.0.1:5500/nope:1: {text}")
    assert "log in to its registry" in refused.hint


HOOK = 'failed to setup alloc: pre-run hook "consul" failed: 1 error occurred:\n\t* '
NO_METHOD = 'Unexpected response code: 403 (ACL not found: auth method "nomad-workloads" not found)'
NO_RULE = "Unexpected response code: 403 (Permission denied)"
OTHER_AUDIENCE = "Unexpected response code: 500 (error validating claims: aud claim does not match any bound audience)"


@pytest.mark.parametrize("owner", ["task t", "service web"])
@pytest.mark.parametrize(
    ("answer", "words", "hint"),
    [
        (NO_METHOD, 'ACL not found: auth method "nomad-workloads" not found', "makes the auth method"),
        (NO_RULE, "no binding rule of its auth method takes it", "makes the binding rules"),
        (OTHER_AUDIENCE, "error validating claims: aud claim does not match any bound audience", "auth method"),
    ],
)
def test_an_identity_that_consul_does_not_take(answer: str, words: str, hint: str, owner: str) -> None:
    """As Nomad 2.0.5 and Consul 1.22.3 say it."""
    text = f"{HOOK}failed to derive Consul token for {owner}: {answer}\n\n"
    said = explained(set_up(text))
    assert said.certain
    assert said.sentence == f"crash: task g/t on node-1 gets no Consul token for {owner}: {words}"
    assert hint in said.hint


def test_of_several_identities_the_first_is_said() -> None:
    both = "\n\t* ".join(f"failed to derive Consul token for {owner}: {NO_RULE}" for owner in ("service web", "task t"))
    assert explained(set_up(f"{HOOK}{both}\n")).sentence.endswith(
        "for service web: no binding rule of its auth method takes it"
    )


def test_another_trouble_before_a_task_starts() -> None:
    text = 'failed to setup alloc: pre-run hook "network" failed: no such bridge'
    said = explained(set_up(text))
    assert said.certain
    assert f"could not be set up: {text}" in said.sentence


def set_up(text: str) -> Json:
    """An allocation that has failed before its task began."""
    return with_events(RECORDED["2.0.5"]["crash"], {"Type": "Setup Failure", "Time": 10**18, "DisplayMessage": text})


def test_a_template_that_is_refused_for_good(recorded: dict[str, Json]) -> None:
    text = "Template failed: kv.block(a): Get http://127.0.0.1:8500: Unexpected response code: 403 (Permission denied)"
    failed = with_events(recorded["crash"], {"Type": "Killing", "Time": 10**18, "DisplayMessage": text})
    said = explained(failed)
    assert said.certain
    assert "may not read what its template needs" in said.sentence


class TestWhatHeals:
    def test_a_signal_that_met_a_task_at_its_start(self, recorded: dict[str, Json]) -> None:
        text = "Template failed to send signals [hangup]: 1 error occurred:\n\t* Task not running"
        event = {"Type": "Killing", "Time": 10**18, "DisplayMessage": text}
        said = explained(with_events(dict(recorded["tmplbad"], ClientStatus="running"), event))
        assert (said.certain, "Task not running" in said.sentence) == (False, True)

    def test_an_image_that_is_still_pulled(self, recorded: dict[str, Json]) -> None:
        pulling = with_events(
            recorded["key"], {"Type": "Driver", "Time": 10**18, "DisplayMessage": "Downloading image"}
        )
        said = explained(pulling)
        assert not said.certain
        assert "still gets its image" in said.sentence

    def test_a_registry_that_does_not_answer_now(self, recorded: dict[str, Json]) -> None:
        said = explained(dict(recorded["imagelocal"], ClientStatus="pending"))
        assert not said.certain

    def test_but_an_image_that_is_not_there_does_not(self, recorded: dict[str, Json]) -> None:
        assert explained(dict(recorded["image404"], ClientStatus="pending")).certain

    def test_one_crash(self, recorded: dict[str, Json]) -> None:
        [first, *_] = [
            event for event in recorded["crash"]["TaskStates"]["t"]["Events"] if event["Type"] == "Terminated"
        ]
        once = with_events(dict(recorded["crash"], ClientStatus="pending"), first)
        assert not explained(once).certain

    def test_an_end_that_was_asked_for(self, recorded: dict[str, Json]) -> None:
        started, ended, *_ = recorded["crash"]["TaskStates"]["t"]["Events"]
        asked = {"Type": "Restart Signaled", "Time": ended["Time"]}
        cleanly = {**ended, "Details": {"exit_code": "0", "signal": "0"}}
        pending = dict(recorded["crash"], ClientStatus="pending")
        assert not explained(with_events(pending, ended, started, asked, ended)).certain
        assert explained(with_events(pending, ended, started, ended, started, asked, cleanly)).certain

    def test_crashes_before_the_deploy_count_for_nothing(self, recorded: dict[str, Json]) -> None:
        allocation = dict(recorded["crash"], ClientStatus="running")
        later = {**job("crash"), "SubmitTime": 10**19}
        assert cause(Facts(later, allocation, 10**10)) is None

    def test_crashes_of_a_task_that_has_run_since(self, recorded: dict[str, Json]) -> None:
        allocation = with_events(dict(recorded["crash"], ClientStatus="running"))
        allocation["TaskStates"]["t"]["State"] = "running"
        assert cause(Facts(job("crash"), allocation, 10**10)) is None

    @pytest.mark.parametrize("settled", [True, False])
    def test_a_service_that_consul_does_not_know(self, recorded: dict[str, Json], settled: bool) -> None:
        allocation = {**recorded["key"], "ClientStatus": "running", "TaskStates": {}}
        said = cause(Facts(job("key"), allocation, 0.0, unregistered=("web",), settled=settled))
        assert said
        assert said.sentence == "key: group g on node-1 runs, but its service web is not registered in Consul"
        assert "service:write" in said.hint
        assert said.certain == settled

    @pytest.mark.parametrize("settled", [True, False])
    def test_a_program_that_is_refused_says_so_in_its_log_alone(self, settled: bool) -> None:
        states = {"t": {"State": "running", "Events": []}}
        allocation = {**RECORDED["1.6.1"]["key"], "ClientStatus": "running", "TaskStates": states}
        line = "WARNING a turn failed: Consul at http://127.0.0.1:8500 answered 403: ACL not found (GET /v1/kv/x)"
        known = {"checks": ("the check of its service warden fails: 503",), "settled": settled}
        said = cause(Facts(job("w"), allocation, 0.0, logs={"t": f"{line}\n{line}"}, **known))
        assert said
        assert said.sentence == f"w: task g/t on node-1 runs, but is refused what it asks: {line}"
        assert said.certain == settled
        later = cause(Facts(job("w"), allocation, 0.0, logs={"t": line + "\nfine" * 9}, **known))
        assert later
        assert "the check of its service warden fails: 503" in later.sentence

    def test_a_check(self, recorded: dict[str, Json]) -> None:
        allocation = {**recorded["key"], "ClientStatus": "running", "TaskStates": {}}
        said = cause(Facts(job("key"), allocation, 0.0, checks=("the check of its service web fails: 503",)))
        assert said == Cause(
            "key: group g on node-1 runs, but the check of its service web fails: 503",
            "nomad job status key shows more; obsctl deploy tries again",
        )


def test_a_healthy_allocation_has_no_cause() -> None:
    allocation = {"ClientStatus": "running", "TaskStates": {"t": {"State": "running", "Events": []}}}
    assert cause(Facts(job("web"), allocation, 0.0)) is None


def with_events(allocation: Json, *more: Json) -> Json:
    """The allocation with these events, or its own where there are none."""
    copied: Json = json.loads(json.dumps(allocation))
    if more:
        copied["TaskStates"]["t"]["Events"] = list(more)
    return copied
