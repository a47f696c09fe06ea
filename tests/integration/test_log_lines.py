"""What a real agent makes of real logs: entries, times and levels; and what it takes out of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from obsctl.model import Json
from obsctl.wait import wait_until
from tests.log_agent import Agent, running_agent
from tests.otlp import records, send_logs

pytestmark = pytest.mark.real

SAMPLES = Path(__file__).parent.parent / "log_samples"
NOT_SAID = ""
SECOND = 1_000_000_000

# Of each sample, which the real program has written: each entry's own time, level, and number of lines.
PYTHON = [
    (NOT_SAID, "WARN", 1),
    (NOT_SAID, "ERROR", 1),
    ("2026-11-26T23:17:56.112Z", "INFO", 1),
    ("2026-11-26T23:17:56.112Z", "ERROR", 15),
    ("2026-11-26T23:17:56.115Z", "DEBUG", 1),
    ("2026-11-26T23:17:56.115Z", "FATAL", 1),
    ("2026-11-26T23:17:56.115Z", "INFO", 1),
    (NOT_SAID, NOT_SAID, 14),
]
GO = [
    ("2026-11-26T23:17:24Z", NOT_SAID, 1),
    ("2026-11-26T23:17:24.867219Z", NOT_SAID, 1),
    ("2026-11-26T23:17:24Z", "INFO", 1),
    ("2026-11-26T23:17:24Z", "ERROR", 1),
    ("2026-11-26T23:17:24.867Z", "WARN", 1),
    ("2026-11-26T23:17:24.867Z", "DEBUG", 1),
    ("2026-11-26T23:17:24.867285827Z", "INFO", 1),
    ("2026-11-26T23:17:24.867289743Z", "ERROR", 1),
]
GO_PANIC = [
    (NOT_SAID, NOT_SAID, 1),
    ("2026-11-26T23:17:42Z", NOT_SAID, 16),
    (NOT_SAID, NOT_SAID, 8),
]
JAVA = [
    ("2026-11-26T23:17:56Z", "INFO", 2),
    ("2026-11-26T23:17:56Z", "ERROR", 17),
    ("2026-11-26T23:17:56Z", "WARN", 2),
    ("2026-11-26T23:17:57Z", "INFO", 2),
    (NOT_SAID, NOT_SAID, 16),
]
JAVA_LOGGERS = [
    ("2025-11-26T23:17:56.123Z", "INFO", 1),
    ("2025-11-26T23:17:56.124Z", "ERROR", 9),
    ("2025-11-26T22:17:56.125Z", "WARN", 1),
    ("2025-11-26T23:17:56.126Z", "INFO", 1),
    ("2025-11-26T23:17:56.127Z", "DEBUG", 1),
    (NOT_SAID, "ERROR", 1),
    (NOT_SAID, "INFO", 1),
    (NOT_SAID, NOT_SAID, 2),
]
NODE = [
    (NOT_SAID, NOT_SAID, 1),
    (NOT_SAID, NOT_SAID, 16),
    (NOT_SAID, NOT_SAID, 8),
    (NOT_SAID, NOT_SAID, 1),
    (NOT_SAID, NOT_SAID, 22),
]
JSON = [
    ("2025-11-26T23:17:56.123Z", "INFO", 1),
    ("2025-11-26T23:17:56.124Z", "ERROR", 1),
    ("2025-11-26T23:17:56.125491Z", "INFO", 1),
    ("2025-11-26T23:17:56.126Z", "WARN", 1),
    ("2025-11-26T22:17:56.127Z", "ERROR", 1),
    ("2025-11-26T23:17:56.128456789Z", "INFO", 1),
    ("2025-11-26T23:17:56Z", "FATAL", 1),
    (NOT_SAID, NOT_SAID, 1),
    ("2025-11-26T23:17:56Z", "DEBUG", 1),
    (NOT_SAID, NOT_SAID, 1),
    (NOT_SAID, NOT_SAID, 1),
]
LOGFMT = [
    ("2025-11-26T23:17:56.123Z", "INFO", 1),
    ("2025-11-26T23:17:56.124567Z", "WARN", 1),
    ("2025-11-26T23:17:56.125Z", "ERROR", 1),
    ("2025-11-26T21:17:56Z", "FATAL", 1),
    ("2025-11-26T23:17:56.789Z", "DEBUG", 1),
    (NOT_SAID, NOT_SAID, 1),
]
SYSLOG = [
    ("2025-11-26T23:17:56.003Z", "INFO", 1),
    ("2025-11-27T06:17:56.000003Z", "DEBUG", 1),
    ("2025-11-26T22:17:56.678901Z", NOT_SAID, 1),
]
OTHERS = [
    ("2025-11-26T23:17:56Z", "INFO", 1),
    ("2025-11-26T23:17:56Z", "ERROR", 1),
    ("2025-11-26T23:17:56.125Z", "WARN", 1),
    ("2025-11-26T23:17:56.126Z", NOT_SAID, 1),
    (NOT_SAID, "INFO", 1),
    (NOT_SAID, "WARN", 1),
    (NOT_SAID, NOT_SAID, 3),
    (NOT_SAID, NOT_SAID, 1),
]
EXPECTED = {
    "python": PYTHON,
    "go": GO,
    "go_panic": GO_PANIC,
    "java": JAVA,
    "java_loggers": JAVA_LOGGERS,
    "node": NODE,
    "json": JSON,
    "logfmt": LOGFMT,
    "syslog": SYSLOG,
    "others": OTHERS,
}
SECRETS = [r"4111\d+", r"password=\S+", r'"token": ?"[^"]*"', r"\b(?:\d{4}[ -]){3}\d{4}\b", r"costs \$5$"]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One that believes old times, so that samples may have theirs."""
    folder = tmp_path_factory.mktemp("agent")
    with running_agent(folder, logs={"redact": SECRETS}, retention="3650d") as running:
        yield running


def of_job(agent: Agent, job: str) -> list[Json]:
    return [record for resource, record in agent.records() if resource["nomad.job"] == job]


def read(agent: Agent, job: str, count: int) -> list[Json]:
    """The job's records, when there are so many."""
    wait_until(
        lambda: len(of_job(agent, job)) >= count, timeout=30, failure=f"no sign of {count} lines of {job}", hint=""
    )
    return of_job(agent, job)


def text(record: Json) -> str:
    return str(record["body"]["stringValue"])


def own_time(record: Json) -> str:
    """As RFC 3339; NOT_SAID when it is that at which the line was read."""
    at = int(record["timeUnixNano"])
    if at == int(record["observedTimeUnixNano"]):
        return NOT_SAID
    second = datetime.fromtimestamp(at // SECOND, UTC).isoformat().replace("+00:00", "")
    fraction = f"{at % SECOND:09d}".rstrip("0")
    if fraction and len(fraction) < 3:
        fraction = fraction.ljust(3, "0")
    return f"{second}.{fraction}Z" if fraction else f"{second}Z"


@pytest.mark.parametrize("name", EXPECTED)
def test_real_logs_keep_their_times_levels_and_traces(name: str, agent: Agent) -> None:
    sample = (SAMPLES / f"{name}.log").read_text()
    agent.write(name, *sample.splitlines(), job=name)
    found = read(agent, name, len(EXPECTED[name]))
    found.sort(key=lambda record: sample.index(text(record)))  # the body is as it was written, or this fails
    said = [(own_time(each), each.get("severityText", NOT_SAID), text(each).count("\n") + 1) for each in found]
    assert said == EXPECTED[name]
    assert "".join(map(text, found)).replace("\n", "") == sample.replace("\n", "")
    for record in found:
        assert {each["key"] for each in record["attributes"]} == {"log.iostream", "obsctl.source"}


def test_times_without_a_year_are_of_the_last_twelve_months(agent: Agent) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    before = now - timedelta(minutes=5)
    agent.write(
        "years",
        f"<34>{before:%b %e %H:%M:%S} host su[12]: authentication failure",
        f"{before:%b %e %H:%M:%S} host sshd[42]: Accepted publickey",
        f"E{before:%m%d %H:%M:%S}.123456       1 main.go:12] no such pod",
        job="years",
    )
    found = sorted(read(agent, "years", 3), key=text)
    seconds = [datetime.fromtimestamp(int(record["timeUnixNano"]) // SECOND, UTC) for record in found]
    assert seconds == [before] * 3
    assert {text(record)[:2]: record.get("severityText") for record in found}["<3"] == "FATAL"
    assert {text(record)[:1]: record.get("severityText") for record in found}["E"] == "ERROR"


def test_a_line_names_its_trace(agent: Agent) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    agent.write("trace", json.dumps({"msg": "x", "trace_id": trace_id}), '{"trace_id": "short"}', job="trace")
    assert [record.get("traceId", "") for record in read(agent, "trace", 2)] == [trace_id, ""]


def test_two_streams_do_not_mix(agent: Agent) -> None:
    head, trace = "2025-11-26 23:17:56,124 ERROR charge failed", ["Traceback (most recent call last):", "  File x"]
    for number in range(20):
        agent.write("mixed", head, job="mixed", stream="stderr")
        agent.write("mixed", f"between {number}", job="mixed")
        agent.write("mixed", *trace, f"ValueError: {number}", job="mixed", stream="stderr")
    found = [text(record) for record in read(agent, "mixed", 40)]
    wanted = [f"between {number}" for number in range(20)]
    wanted += ["\n".join([head, *trace, f"ValueError: {number}"]) for number in range(20)]
    assert sorted(found) == sorted(wanted)


def test_a_trace_that_is_written_slowly_ends_by_itself(agent: Agent) -> None:
    agent.write("slow", "Traceback (most recent call last):", "  File x", job="slow")
    [record] = read(agent, "slow", 1)
    assert text(record) == "Traceback (most recent call last):\n  File x"


HOSTILE = {
    "deep JSON": '{"a":' * 20_000,
    "deep JSON that ends": '{"time":' + "[" * 20_000 + "]" * 20_000 + "}",
    "a mapping for a time": '{"time": {"a": 1}, "level": {"b": []}, "trace_id": 7}',
    "a number beyond all": '{"time": 1e308, "level": 1e308}',
    "a long number": '{"time": ' + "9" * 5000 + "}",
    "no text at all": "\x00\x01\xff\xfe\x80" * 100,
    "many spaces": "time=" + " " * 100_000,
    "many equal signs": "a=" * 50_000,
    "an expression": 'EXPR(os_env_func("HOME")) ${env:HOME} $$ {{ key "x" }}',
    "syslog of nothing": "<999999>1 - - -",
    "priorities beyond all": "<999>Jan  1 00:00:00 x",
    "brackets": "[" * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_line_stops_the_agent(name: str, agent: Agent) -> None:
    job = name.replace(" ", "-")
    agent.write(job, HOSTILE[name], job=job)
    agent.write(f"{job}-after", f"still here after {name}", job=f"{job}-after")
    assert text(read(agent, f"{job}-after", 1)[0]) == f"still here after {name}"
    assert len("".join(map(text, read(agent, job, 1)))) > 0


def test_a_line_that_is_too_long_comes_in_pieces(agent: Agent) -> None:
    line = "x" * 1_000_000
    agent.write("long", line, "the next", job="long")
    wait_until(
        lambda: any(text(each) == "the next" for each in of_job(agent, "long")),
        timeout=30,
        failure="no sign of it",
        hint="",
    )
    pieces = [text(record) for record in of_job(agent, "long") if text(record) != "the next"]
    assert "".join(pieces) == line
    assert max(map(len, pieces)) <= 192 * 1024


def test_what_is_to_be_redacted_does_not_leave_the_node(agent: Agent) -> None:
    agent.write(
        "secret",
        "login user=me password=hunter2 from 10.0.0.1",
        '{"token": "abc.def", "msg": "card 4111 1111 1111 1111 declined"}',
        "2025-11-26 23:17:56,124 ERROR failed",
        "Traceback (most recent call last):",
        "  connect(password=hunter3)",
        "ValueError: password=hunter4",
        "it costs $5",
        job="secret",
    )
    found = sorted(text(record) for record in read(agent, "secret", 4))
    assert found == [
        "2025-11-26 23:17:56,124 ERROR failed\nTraceback (most recent call last):\n  connect(***\nValueError: ***",
        "it ***",
        "login user=me *** from 10.0.0.1",
        '{***, "msg": "card *** declined"}',
    ]


SECRET_BYTES = "cGFzc3dvcmQ9aHVudGVyMg=="


def test_what_comes_by_otlp_is_redacted_wherever_it_stands(agent: Agent) -> None:
    said = "password=hunter2"
    inner = {"kvlistValue": {"values": [{"key": "deep", "value": {"stringValue": said}}]}}
    listed = {"arrayValue": {"values": [{"stringValue": said}, inner]}}
    number = {"kvlistValue": {"values": [{"key": said, "value": {"intValue": "4111111111111111"}}]}}
    bodies: list[Json] = [{"stringValue": said}, inner, listed, number, {"bytesValue": SECRET_BYTES}]
    bodies.append({"arrayValue": {"values": [{"bytesValue": SECRET_BYTES}, inner]}})
    bodies.append({"kvlistValue": {"values": [{"key": "deep", "value": {"bytesValue": SECRET_BYTES}}]}})
    attributes = [
        {"key": "a", "value": {"stringValue": said}},
        {"key": "b", "value": inner},
        {"key": "c", "value": listed},
        {"key": said, "value": number},
        {"key": "d", "value": {"doubleValue": 4111111111111111}},
        {"key": "bytes", "value": {"bytesValue": SECRET_BYTES}},
        {"key": "list", "value": {"arrayValue": {"values": [{"bytesValue": SECRET_BYTES}]}}},
        {"key": "e", "value": {"arrayValue": {"values": [{"intValue": "4111111111111111"}]}}},
    ]
    more = {"attributes": attributes, "severityText": said, "eventName": said}
    lines = [(time.time_ns(), "", {"body": body, **more}) for body in bodies]
    resource = records({"service.name": "otlp", "nomad.job": "otlp", "args": said, said: said}, *lines)
    resource["scopeLogs"][0]["scope"] = {"name": said, "version": said, "attributes": attributes}
    resource["resource"]["attributes"].append({"key": "bytes", "value": {"bytesValue": SECRET_BYTES}})
    send_logs(agent.otlp, [resource])
    read(agent, "otlp", len(bodies))
    sent = b"".join(asked.body for asked in agent.gateway.asked)
    assert b"hunter2" not in sent
    assert b"411111" not in sent  # four digits may be those of a time
    assert b"cGFzc3dvcmQ9aHVudGVyMg" not in sent
    assert b"70617373776f72643d68756e74657232" not in sent  # the same in hexadecimal


def test_what_is_not_to_be_redacted_stays_as_it_is(agent: Agent) -> None:
    """Numbers and truth values are texts afterwards."""
    values: dict[str, Json] = {
        "text": {"stringValue": "text:aGVsbG8="}, "empty": {"stringValue": ""}, "int": {"intValue": "-7"},
        "double": {"doubleValue": 1.5e300}, "bool": {"boolValue": True}, "word": {"stringValue": "hello"},
        "list": {"arrayValue": {"values": [{"stringValue": "$1"}, {"intValue": "2"}]}},
    }  # fmt: skip
    attributes = [{"key": key, "value": value} for key, value in values.items()]
    bodies: list[Json] = [{"intValue": "5"}, {"stringValue": "plain"}]
    lines = [(time.time_ns(), "", {"body": body, "attributes": attributes}) for body in bodies]
    send_logs(agent.otlp, [records({"service.name": "kept", "nomad.job": "kept"}, *lines)])
    found = read(agent, "kept", 2)
    assert {text(record) for record in found} == {"5", "plain"}
    for record in found:
        said = {each["key"]: each["value"]["stringValue"] for each in record["attributes"]}
        assert said == {
            "text": "text:aGVsbG8=", "empty": "", "int": "-7", "double": "1.5e+300", "bool": "true", "word": "hello",
            "list.0": "$1", "list.1": "2", "obsctl.source": "otlp",
        }  # fmt: skip


def test_times_that_cannot_be_are_not_believed(tmp_path: Path) -> None:
    """In what came by OTLP neither: the log store would take none of them."""
    now = datetime.now(UTC)
    absurd = [datetime(1970, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC), now + timedelta(hours=2)]
    absurd.append(now - timedelta(days=8))  # more than the log store keeps
    fine = now - timedelta(days=6)
    lines = [f"{at.isoformat()} INFO a line" for at in [*absurd, fine]]
    sent = records(
        {"service.name": "otlp", "nomad.job": "otlp"}, *[(int(at.timestamp()) * SECOND, "x", {}) for at in absurd]
    )
    with running_agent(tmp_path) as agent:
        agent.write("one", *lines)
        send_logs(agent.otlp, [sent])
        believed = {text(record): own_time(record) != NOT_SAID for record in read(agent, "web", len(lines))}
        by_otlp = [int(record["timeUnixNano"]) / SECOND for record in read(agent, "otlp", len(absurd))]
    assert believed == {**dict.fromkeys(lines[:-1], False), lines[-1]: True}
    assert all(abs(at - now.timestamp()) < 60 for at in by_otlp)
