"""Log lines: what they tell of themselves, where they are read, and what comes while they are followed."""

from __future__ import annotations

import gc
import itertools

import pytest

from obsctl.errors import Forbidden, ObsctlError, Unreachable
from obsctl.telemetry import stored_logs
from obsctl.telemetry.lines import (
    SECOND,
    Line,
    Origins,
    Query,
    as_fields,
    format_time,
    in_order,
    pieces,
    time_and_level,
)
from obsctl.telemetry.logs import follow, from_either, from_nomad, from_store
from obsctl.telemetry.nomad_logs import NomadTail
from obsctl.telemetry.stored_logs import StoredTail, logsql
from tests.fakes import FakeClock, FakeLogs
from tests.world import World

DOWN = Unreachable("VictoriaLogs at x cannot be reached", hint="wait")
JOB = {
    "ID": "obs-web",
    "Name": "obs-web",
    "TaskGroups": [{"Name": "web", "Count": 1, "Tasks": [{"Name": "web"}, {"Name": "side"}]}],
}


@pytest.fixture
def world() -> World:
    found = World()
    found.nomad.register_job(JOB)
    return found


@pytest.fixture
def now(world: World) -> int:
    return int(world.clock.now()) * SECOND


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


class TestWhatALineTells:
    @pytest.mark.parametrize(
        ("text", "time", "level"),
        [
            ("time=2026-11-21T03:22:04.987Z level=INFO source=main.go:1 msg=x", "2026-11-21T03:22:04.987Z", "info"),
            ('{"time": "2026-11-21T03:22:04+01:00", "level": "WARNING"}', "2026-11-21T02:22:04.000Z", "warn"),
            ("2026-11-21T03:22:04.1Z\tinfo\tservice.go:1\tready", "2026-11-21T03:22:04.100Z", "info"),
            ("ts=2026-11-21T03:22:04.123456789Z caller=a.go level=error", "2026-11-21T03:22:04.123Z", "error"),
            ("    2026-11-21T03:22:04.000Z [WARN]  agent: no", "2026-11-21T03:22:04.000Z", "warn"),
            ("CRITICAL it is over", "-", "fatal"),
            ("no level, no error in it, 2026-13-41T99:99:99Z", "-", ""),
            ("", "-", ""),
        ],
    )
    def test_time_and_level(self, text: str, time: str, level: str) -> None:
        at, found = time_and_level(text)
        assert (format_time(at) if at else "-", found) == (time, level)

    def test_a_time_without_a_zone_is_utc_as_agents_take_it(self) -> None:
        assert time_and_level("2026-11-21 03:22:04,5 INFO x")[0] == time_and_level("2026-11-21T03:22:04.5+00:00")[0]

    @pytest.mark.parametrize(
        "text", ["9999-12-31 23:59:59-11:00 x", "0001-01-01 00:00:00+11:00 x", "2026-13-40 00:00:00 x"]
    )
    def test_a_time_that_there_is_not(self, text: str) -> None:
        assert time_and_level(text)[0] is None

    def test_a_line_in_json_that_is_too_deep_is_a_line(self) -> None:
        assert as_fields('{"a":' * 100_000) == {}

    def test_only_the_beginning_of_a_line_counts(self) -> None:
        assert time_and_level("x" * 400 + " level=error 2026-11-21T03:22:04Z") == (None, "")


class TestHowALineLooks:
    def test_it_has_time_level_origin_and_text(self) -> None:
        line = Line("hi", 1_700_000_000 * SECOND, "error")
        shown = pieces(line, "web")
        assert "".join(text for text, _ in shown) == "2023-11-14T22:13:20.000Z ERROR web | hi"
        assert shown[-1] == ("hi", "red")
        assert "".join(text for text, _ in pieces(Line("hi", None), "")) == f"{'-':24}       hi"

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ('{"ts": "x", "level": "INFO", "message": "hi", "user": 7}', "hi  user=7"),
            ('{"time": "x", "msg": "hi"}', "hi"),
            ('{"a": 1}', '{"a": 1}'),
            ("{not json", "{not json"),
            ("plain", "plain"),
        ],
    )
    def test_json_is_shown_as_its_message_and_what_else_it_has(self, text: str, shown: str) -> None:
        assert pieces(Line(text, None), "")[-1][0] == shown

    def test_its_origin_is_as_little_as_tells_it_apart(self) -> None:
        origins = Origins()
        one = Line("", 1, job="obs-web", task="web", alloc_id="aaaaaaaa-1")
        origins.notice([one])
        assert origins.of(one) == ""
        origins.notice([Line("", 1, job="obs-web", task="side", alloc_id="aaaaaaaa-1")])
        assert origins.of(one) == "web"
        origins.notice([Line("", 1, job="obs-web", task="web", alloc_id="bbbbbbbb-2")])
        assert origins.of(one) == "web aaaaaaaa"
        origins.notice([Line("", 1, job="obs-db", task="db", alloc_id="cccccccc-3")])
        assert origins.of(one) == "obs-web aaaaaaaa"

    def test_what_has_no_time_comes_last(self) -> None:
        assert texts(in_order([Line("b", None), Line("a", 2), Line("c", 1)])) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(), "*"),
        (Query("obs-web"), '{"nomad.job"="obs-web"}'),
        (Query("w", namespace="team"), '{"nomad.job"="w"} "nomad.namespace":in("team", "")'),
        (Query(trace_id="ab"), '"trace_id":="ab"'),
        (Query("w", grep='a "b.c"'), r'{"nomad.job"="w"} _msg:~"(?i)a\\ \"b\\.c\""'),
        (Query(trace_id="\ud800"), '"trace_id":="\ufffd"'),
        (Query("w", grep="é", trace_id="ab"), '{"nomad.job"="w"} "trace_id":="ab" _msg:~"(?i)é"'),
    ],
)
def test_a_query_in_the_stores_language(query: Query, expected: str) -> None:
    assert logsql(query) == expected


class TestStoredTail:
    def test_first_the_last_lines_then_what_is_added(self, world: World, now: int) -> None:
        store = FakeLogs()
        for second in range(5):
            store.receive(now - (5 - second) * SECOND, f"line {second}", nomad_job="obs-web")
        store.receive(now - SECOND, "of another", nomad_job="obs-db")
        tail = StoredTail(store, Query("obs-web", since=now - 60 * SECOND, limit=2), clock=world.clock)
        assert texts(tail.lines()) == ["line 3", "line 4"]
        assert tail.lines() == [], "what was left out at first stays so"
        store.receive(now, "new", nomad_job="obs-web")
        assert texts(tail.lines()) == ["new"]
        assert tail.lines() == []

    def test_a_line_that_comes_late_is_not_lost(self, world: World, now: int) -> None:
        store = FakeLogs()
        store.receive(now - 3 * SECOND, "first", nomad_job="obs-web")
        tail = StoredTail(store, Query("obs-web", since=now - 60 * SECOND), clock=world.clock)
        tail.lines()
        store.receive(now, "newer", nomad_job="obs-web")
        assert texts(tail.lines()) == ["newer"]
        store.receive(now - SECOND, "late", nomad_job="obs-web")
        assert texts(tail.lines()) == ["late"]

    def test_what_waited_while_the_store_was_away_is_not_lost(self, world: World, now: int) -> None:
        """Batches that were being tried again come after those that were behind them, twenty minutes later."""
        store = FakeLogs()
        store.receive(now - SECOND, "before", nomad_job="obs-web")
        tail = StoredTail(store, Query("obs-web", since=now - 60 * SECOND), clock=world.clock)
        tail.lines()
        world.clock.sleep(1200)
        store.receive(now + 1200 * SECOND, "newer", nomad_job="obs-web")
        assert texts(tail.lines()) == ["newer"]
        world.clock.sleep(30)
        store.receive(now, "waited", nomad_job="obs-web")
        store.receive(now + 600 * SECOND, "waited too", nomad_job="obs-web")
        assert texts(tail.lines()) == ["waited", "waited too"]
        assert tail.lines() == []

    def test_it_keeps_no_more_than_it_may_have_to_compare(self, world: World, now: int) -> None:
        store = FakeLogs()
        tail = StoredTail(store, Query("obs-web", since=now), clock=world.clock)
        for second in range(1000):
            store.receive(now + second * SECOND, f"{second}", nomad_job="obs-web")
            world.clock.sleep(1)
            assert texts(tail.lines()) == [f"{second}"]
        gc.collect()
        assert sum(isinstance(item, Line) for item in gc.get_objects()) < 150

    def test_lines_that_are_the_same_are_each_shown(self, world: World, now: int) -> None:
        store = FakeLogs()
        store.receive(now, "again", nomad_job="obs-web")
        tail = StoredTail(store, Query("obs-web", since=now - SECOND), clock=world.clock)
        assert texts(tail.lines()) == ["again"]
        store.receive(now, "again", nomad_job="obs-web")
        assert texts(tail.lines()) == ["again"]
        assert tail.lines() == []

    def test_a_store_that_goes_away_in_the_middle_costs_nothing(self, world: World, now: int) -> None:
        store = FakeLogs()
        tail = StoredTail(store, Query("obs-web", since=now), clock=world.clock)
        tail.lines()
        store.receive(now + SECOND, "one", nomad_job="obs-web")
        store.failures["lines"] = DOWN
        with pytest.raises(Unreachable):
            tail.lines()
        store.failures.clear()
        assert texts(tail.lines()) == ["one"]

    def test_more_than_the_store_gives_at_once_is_read_page_by_page(
        self, world: World, now: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stored_logs, "PAGE", 3)
        store = FakeLogs()
        tail = StoredTail(store, Query("obs-web", since=now - SECOND), clock=world.clock)
        assert tail.lines() == []
        for number in range(8):
            store.receive(now + number, f"{number}", nomad_job="obs-web")
        assert texts(tail.lines()) == [str(number) for number in range(8)]

    def test_more_lines_of_one_moment_than_fit_a_page_are_all_read(
        self, world: World, now: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stored_logs, "PAGE", 3)
        store = FakeLogs()
        tail = StoredTail(store, Query("obs-web", since=now - SECOND), clock=world.clock)
        tail.lines()
        for number in range(8):
            store.receive(now, f"{number}", nomad_job="obs-web")
        store.receive(now + 1, "next", nomad_job="obs-web")
        assert texts(tail.lines()) == [*map(str, range(8)), "next"]

    @pytest.mark.parametrize("times", [("?", "?", "?"), ("2020-01-01T00:00:00Z", "2020-01-01T00:00:01Z", "?")])
    def test_a_store_that_gives_what_was_not_asked_for_does_not_hold_it_for_ever(
        self, times: tuple[str, ...], world: World, now: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stored_logs, "PAGE", 3)
        store = FakeLogs()
        tail = StoredTail(store, Query("obs-web", since=now - SECOND), clock=world.clock)
        tail.lines()
        store.receive(now, "asked for", nomad_job="obs-web")
        asked: list[int] = []

        def lines(_: str, *, limit: int, **__: object) -> list[dict[str, str]]:
            asked.append(limit)
            assert len(asked) < 10
            return [{"_time": time, "_msg": "not asked for"} for time in times]

        monkeypatch.setattr(store, "lines", lines)
        assert tail.lines() == []

    def test_a_line_has_what_the_store_knows_of_it(self, world: World, now: int) -> None:
        store = FakeLogs()
        known = {"nomad_alloc_id": "a1", "nomad_task": "web", "log_iostream": "stderr", "span_id": "5", "trace_id": "7"}
        store.receive(now, "level=debug x", nomad_job="obs-web", severity_text="ERROR", **known)
        store.receive(now, "level=debug x", service_name="other", detected_level="unknown")
        first, second = StoredTail(store, Query(since=now), clock=world.clock).lines()
        assert first == Line("level=debug x", now, "error", "obs-web", "web", "a1", "stderr", "7", "5")
        assert second == Line("level=debug x", now, "debug", "other")


class TestNomadTail:
    def test_both_streams_of_all_tasks_in_order_of_time(self, world: World) -> None:
        world.nomad.written["obs-web"] = {
            "web.stdout.0": b"2026-11-21T03:00:01Z INFO one\n2026-11-21T03:00:04Z four\n",
            "web.stderr.0": b"2026-11-21T03:00:02Z ERROR two\n  its traceback\n",
            "side.stdout.0": b"2026-11-21T03:00:03Z three\n",
        }
        lines = NomadTail(world.nomad, Query("obs-web")).lines()
        assert [(line.task, line.stream, line.text[-5:]) for line in lines] == [
            ("web", "stdout", "O one"),
            ("web", "stderr", "R two"),
            ("web", "stderr", "eback"),
            ("side", "stdout", "three"),
            ("web", "stdout", " four"),
        ]
        assert {(line.job, line.alloc_id) for line in lines} == {
            ("obs-web", world.nomad.job_allocations("obs-web")[0]["ID"])
        }

    def test_lines_before_the_time_asked_for_are_left_out_and_it_is_known(self, world: World) -> None:
        old, new = b"2026-11-21T03:00:00Z old", b"2026-11-21T04:00:00Z new"
        world.nomad.written["obs-web"] = {"web.stdout.0": old + b"\n" + new, "side.stdout.0": b"no time\n"}
        at = time_and_level(old.decode())[0]
        assert at is not None
        tail = NomadTail(world.nomad, Query("obs-web", since=at + 1))
        assert texts(tail.lines()) == [new.decode(), "no time"]
        assert tail.left_out == at

    def test_only_the_last_ones(self, world: World) -> None:
        world.nomad.written["obs-web"] = {"web.stdout.0": b"1\n2\n3\n", "web.stdout.1": b"4\n5"}
        assert texts(NomadTail(world.nomad, Query("obs-web", limit=3)).lines()) == ["3", "4", "5"]

    def test_a_long_log_is_read_from_its_end_and_begins_with_a_whole_line(self, world: World) -> None:
        content = b"".join(b"%0999d\n" % number for number in range(200))
        world.nomad.written["obs-web"] = {"web.stdout.0": content[:190_500], "web.stdout.1": content[190_500:]}
        lines = NomadTail(world.nomad, Query("obs-web", limit=100)).lines()
        assert texts(lines) == [f"{number:0999d}" for number in range(135, 200)]

    def test_what_is_added_across_a_rotation(self, world: World) -> None:
        files = world.nomad.written["obs-web"] = {"web.stdout.0": b"one\n"}
        tail = NomadTail(world.nomad, Query("obs-web"))
        assert texts(tail.lines()) == ["one"]
        files["web.stdout.0"] += b"two\nthr"
        assert texts(tail.lines()) == ["two"]
        files["web.stdout.0"] += b"ee\n"
        files["web.stdout.1"] = b"four\n"
        assert texts(tail.lines()) == ["three", "four"]
        del files["web.stdout.0"]
        files["web.stdout.2"] = b"five\n"
        assert texts(tail.lines()) == ["five"]
        assert tail.lines() == []

    def test_a_new_allocation_is_read_from_its_beginning(self, world: World) -> None:
        world.nomad.written["obs-web"] = {"web.stdout.0": b"before\n"}
        tail = NomadTail(world.nomad, Query("obs-web", limit=1))
        tail.lines()
        first = world.nomad.job_allocations("obs-web")[0]["ID"]
        world.nomad.register_job({**JOB, "Meta": {"version": "2"}})
        world.nomad.written["obs-web"] = {"web.stdout.0": b"after\nand more\n"}
        assert [line.text for line in tail.lines() if line.alloc_id != first] == ["after", "and more"]

    def test_the_last_words_of_an_allocation_that_ends_are_not_lost(self, world: World) -> None:
        world.nomad.written["obs-web"] = {"web.stdout.0": b"before\n"}
        tail = NomadTail(world.nomad, Query("obs-web"))
        tail.lines()
        first = world.nomad.job_allocations("obs-web")[0]["ID"]
        world.nomad.register_job({**JOB, "Meta": {"version": "2"}})
        world.nomad.written["obs-web"]["web.stdout.0"] += b"last words\n"
        lines = [line.text for line in tail.lines() if line.alloc_id == first]
        assert lines == ["last words"]

    def test_only_a_line_break_ends_a_line(self, world: World) -> None:
        world.nomad.written["obs-web"] = {"web.stdout.0": "a\u2028b\x0cc\r\n\nd\n".encode()}
        assert texts(NomadTail(world.nomad, Query("obs-web")).lines()) == ["a\u2028b\x0cc", "", "d"]

    def test_the_last_allocation_counts_when_none_runs(self, world: World) -> None:
        world.nomad.written["obs-web"] = {"web.stderr.0": b"last words"}
        world.nomad.stop_job("obs-web")
        assert texts(NomadTail(world.nomad, Query("obs-web")).lines()) == ["last words"]

    def test_only_what_was_asked_for(self, world: World) -> None:
        world.nomad.written["obs-web"] = {"web.stdout.0": b"An Error\nfine\ntrace_id=abc error\n"}
        assert texts(NomadTail(world.nomad, Query("obs-web", grep="ERROR")).lines()) == [
            "An Error",
            "trace_id=abc error",
        ]
        assert texts(NomadTail(world.nomad, Query("obs-web", trace_id="abc")).lines()) == ["trace_id=abc error"]

    def test_a_line_in_json_tells_its_trace(self, world: World) -> None:
        world.nomad.written["obs-web"] = {"web.stdout.0": b'{"message": "hi", "trace_id": "ab", "span_id": "c"}\n'}
        [line] = NomadTail(world.nomad, Query("obs-web")).lines()
        assert (line.trace_id, line.span_id) == ("ab", "c")

    def test_a_job_that_was_never_there_has_no_lines(self, world: World) -> None:
        assert NomadTail(world.nomad, Query("nobody")).lines() == []


class TestWhereLinesAreRead:
    def test_the_store_has_them(self, world: World, now: int) -> None:
        store = FakeLogs()
        store.receive(now, "hi", nomad_job="obs-web")
        found = from_either(lambda: store, world.nomad, Query("obs-web"), clock=world.clock)
        assert (found.source, texts(found.lines), found.reason) == ("victorialogs", ["hi"], "")

    def test_nomad_when_the_store_is_not_there(self, world: World) -> None:
        world.nomad.written["obs-web"] = {"web.stdout.0": b"hi\n"}
        store = FakeLogs()
        store.failures["*"] = DOWN
        found = from_either(lambda: store, world.nomad, Query("obs-web"), clock=world.clock)
        assert (found.source, texts(found.lines), found.reason) == ("nomad", ["hi"], DOWN.message)

        def unregistered() -> FakeLogs:
            raise ObsctlError("store is not registered", hint="deploy")

        assert from_either(unregistered, world.nomad, Query("obs-web")).reason == "store is not registered"

    def test_nomad_when_the_store_has_none_of_them(self, world: World) -> None:
        world.nomad.written["obs-web"] = {"web.stdout.0": b"hi\n"}
        found = from_either(FakeLogs, world.nomad, Query("obs-web"), clock=world.clock)
        assert (found.source, found.reason) == (
            "nomad",
            "VictoriaLogs at http://victorialogs.fake:9428 has no such lines",
        )

    def test_the_store_when_neither_has_any(self, world: World) -> None:
        found = from_either(FakeLogs, world.nomad, Query("obs-web"), clock=world.clock)
        assert (found.source, found.lines) == ("victorialogs", [])

    def test_the_store_when_it_has_none_and_nomad_may_not_be_asked(self, world: World) -> None:
        world.nomad.failures["*"] = Forbidden("no", hint="token")
        found = from_either(FakeLogs, world.nomad, Query("obs-web"), clock=world.clock)
        assert (found.source, found.lines) == ("victorialogs", [])

    def test_one_source_alone_fails_with_its_own_error(self, world: World) -> None:
        store = FakeLogs()
        store.failures["*"] = DOWN
        with pytest.raises(Unreachable):
            from_store(lambda: store, Query("obs-web"))
        world.nomad.failures["*"] = Forbidden("no", hint="token")
        with pytest.raises(Forbidden):
            from_nomad(world.nomad, Query("obs-web"), "")


class TestFollow:
    def test_lines_come_as_they_are_written(self, world: World) -> None:
        files = world.nomad.written["obs-web"] = {"web.stdout.0": b"one\n"}
        found = from_nomad(world.nomad, Query("obs-web"), "")
        world.clock.after(3.5, lambda: files.update({"web.stdout.0": b"one\ntwo\nthree\n"}))
        lines = follow(found.tail, pytest.fail, clock=world.clock)
        assert texts(list(itertools.islice(lines, 2))) == ["two", "three"]

    def test_a_server_that_goes_away_is_told_once_and_asked_again(self, world: World, now: int) -> None:
        store = FakeLogs()
        found = from_store(lambda: store, Query("obs-web", since=now), clock=world.clock)
        world.clock.after(1.5, lambda: store.failures.update({"*": DOWN}))
        world.clock.after(2.5, lambda: store.receive(now + 2 * SECOND, "meanwhile", nomad_job="obs-web"))
        world.clock.after(5.5, store.failures.clear)
        told: list[ObsctlError] = []
        lines = follow(found.tail, told.append, clock=world.clock)
        assert next(lines).text == "meanwhile"
        assert told == [DOWN]

    def test_a_question_that_is_refused_ends_it(self, world: World) -> None:
        found = from_nomad(world.nomad, Query("obs-web"), "")
        world.nomad.failures["*"] = Forbidden("no", hint="token")
        with pytest.raises(Forbidden):
            next(follow(found.tail, pytest.fail, clock=FakeClock()))
