import pytest

from obsctl.drills.faults import Scrape
from obsctl.drills.plan import experiment
from obsctl.drills.plan.forecast import Settings, forecast
from obsctl.drills.tell.journal import FORMAT, Record
from obsctl.drills.tell.verdict import EXIT_CODES, judge
from obsctl.errors import ObsctlError

T0 = 1_700_000_000.0
SETTINGS = Settings(
    scrape_interval=2, scrape_timeout=1, evaluation_interval=1, pending=10, keep_firing=0,
    group_wait=1, group_interval=2, refresh_interval=2,
)  # fmt: skip
ALERT = "ServiceDown response"
STARTED = {
    "format": FORMAT,
    "drill": "one",
    "version": "0.1.0",
    "experiment": experiment.load("stop", "response").to_dict(),
    "forecasts": {ALERT: forecast(SETTINGS, Scrape.VANISHES).to_dict()},
}
EXPECTED = {"alertname": "ServiceDown", "service": "response"}


def stage(name, at, alert=ALERT):
    return ("stage", {"alert": alert, "stage": name, "at": T0 + at})


def proven():
    """The records of a drill in which nothing is wrong."""
    return [
        ("started", STARTED),
        ("gate", {"findings": [], "active": []}),
        ("intent", {}),
        ("armed", {"ack": {"host": "node"}}),
        ("injecting", {}),
        ("injected", {"requested_at": T0, "effect_at": T0 + 1}),
        stage("pending", 4),
        stage("firing", 14),
        stage("delivered", 15),
        ("reverting", {}),
        ("reverted", {"state": "reverted", "detail": "again", "requested_at": T0 + 16, "back_at": T0 + 18}),
        stage("recovered", 18.5, alert=""),
        stage("cleared", 19),
        stage("resolved", 20),
        ("steady", {"findings": [], "fired": [EXPECTED]}),
        ("finished", {}),
    ]


def verdict(entries):
    return judge([Record(number, T0, 0.0, kind, data, "") for number, (kind, data) in enumerate(entries)])


def with_data(kind, **data):
    return [(k, {**d, **data} if k == kind else d) for k, d in proven()]


def up_to(kind, *more):
    kinds = [k for k, _ in proven()]
    return [*proven()[: kinds.index(kind) + 1], *more]


def without_stage(name):
    return [(k, d) for k, d in proven() if d.get("stage") != name]


def moved(name, at):
    return [stage(name, at) if d.get("stage") == name else (k, d) for k, d in proven()]


FINDING = {"where": "service response", "what": "0 of 1 instances pass"}
STRANGER = {"alertname": "InstanceDown", "service": "another"}
LOST = [{"alertname": "NodeDown", "node": "n1"}, {"alertname": "DiskFull"}]
REVERTED = proven()[10]
FAILED = ("revert_failed", {"reason": "Nomad is away", "commands": ["nomad job start response"]})

INTERRUPTED = ("aborted", {"reason": "interrupted"})
TAKEN_OVER = {"state": "superseded", "detail": "version 3"}


def missed(name, why="", alert=ALERT):
    return ("missed", {"alert": alert, "stage": name, "why": why})


def injected(*more):
    return up_to("injected", *more)


def recovered(by):
    return ("recovered", {"by": by, "detail": "again"})


# outcome, exit code, what of the records the reason repeats, records
CASES = [
    ("PROVEN", 0, "14.0 s", proven()),
    ("NOT_STEADY", 20, "0 of 1 instances pass", up_to("started", ("gate", {"findings": [FINDING]}))),
    ("NOT_STEADY", 20, "no word", up_to("intent", ("not_armed", {"reason": "no word"}))),
    ("NOT_STEADY", 20, "the disk is full", up_to("armed", ("not_armed", {"reason": "the disk is full"}))),
    ("NOT_INJECTED", 22, "403", up_to("injecting", ("not_injected", {"reason": "403"}), REVERTED)),
    ("MISSED", 10, "still up", injected(missed("pending", "still up"), REVERTED)),
    ("MISSED", 10, "firing", injected(missed("firing"), REVERTED)),
    ("UNDELIVERED", 11, "silenced", injected(missed("delivered", "silenced"), REVERTED)),
    ("UNRESOLVED", 12, "its log", [*without_stage("resolved"), missed("resolved", "its log")]),
    ("UNRESOLVED", 12, "service response", with_data("steady", findings=[FINDING])),
    ("FALSE_RESOLVE", 12, "5.0 s", moved("cleared", 11)),
    ("LATE", 13, "39.0 s", moved("delivered", 40)),
    ("LATE", 13, "4.0 s", moved("firing", 5)),
    ("COLLATERAL", 14, "InstanceDown (another)", with_data("steady", fired=[EXPECTED, STRANGER])),
    ("COLLATERAL", 14, "should not: DiskFull, NodeDown (n1)", with_data("steady", fired=[EXPECTED, *LOST])),
    ("UNRESOLVED", 12, "again: service response: 0 of 1 instances pass", with_data("steady", findings=2 * [FINDING])),
    ("ABORTED", 30, "interrupted", injected(INTERRUPTED, REVERTED)),
    ("ABORTED", 30, "interrupted; everything was put back", injected(INTERRUPTED, REVERTED)),
    ("ABORTED", 30, "interrupted; nothing was touched", up_to("intent", ("not_armed", {"reason": "i"}), INTERRUPTED)),
    ("ABORTED", 30, "interrupted; nothing was touched", up_to("armed", INTERRUPTED, REVERTED)),
    ("ABORTED", 30, "version 3", with_data("reverted", **TAKEN_OVER)),
    ("ABORTED", 30, "", up_to("gate")),
    ("ABORTED", 30, "resolved", up_to("steady")),
    ("ABORTED", 30, "the warden", injected(recovered("the warden"))),
    ("ABORTED", 30, "obsctl drill recover", injected(FAILED, recovered("obsctl drill recover"))),
    ("REVERT_FAILED", 40, "Nomad is away", up_to("reverting", FAILED)),
    ("REVERT_FAILED", 40, "obsctl drill recover", up_to("reverting")),
]


@pytest.mark.parametrize(("outcome", "code", "fact", "entries"), CASES)
def test_each_outcome_has_its_records_its_exit_code_and_its_reason(outcome, code, fact, entries):
    judged = verdict(entries)
    assert (judged.outcome, judged.exit_code) == (outcome, code)
    assert judged.reason
    assert fact in judged.reason


def test_every_outcome_has_a_case_and_an_exit_code():
    assert {(case[0], case[1]) for case in CASES} == set(EXIT_CODES.items())


@pytest.mark.parametrize(
    ("worse", "lesser"),
    [
        (FAILED, INTERRUPTED),
        (INTERRUPTED, missed("pending")),
        (missed("pending"), missed("recovered", alert="")),
        (missed("delivered"), missed("cleared")),
        (missed("cleared"), ("steady", {"findings": [], "fired": [STRANGER]})),
    ],
)
def test_the_worst_that_is_true_is_the_verdict_whatever_comes_first(worse, lesser):
    base = [(k, d) for k, d in proven() if k != "reverted" or worse is not FAILED]
    alone = verdict([*base, worse]).outcome
    assert verdict([*base, worse, lesser]).outcome == alone
    assert verdict([*base, lesser, worse]).outcome == alone
    assert verdict([*base, lesser]).outcome != alone or worse is FAILED


def test_an_alert_that_was_active_before_or_is_allowed_is_no_collateral():
    old, allowed = {"alertname": "DiskFull"}, {"alertname": "HelloServiceErrors", "service": "hello"}
    entries = [
        (k, {**d, "active": [old]} if k == "gate" else {**d, "fired": [EXPECTED, old, allowed]} if k == "steady" else d)
        for k, d in proven()
    ]
    assert verdict(entries).outcome == "PROVEN"


def test_a_stage_may_be_early_by_the_time_that_the_fault_took_and_by_the_tolerance_of_clocks():
    assert verdict(moved("firing", 10.8)).outcome == "PROVEN"
    assert verdict(moved("firing", 9.7)).outcome == "LATE"
    assert verdict(moved("delivered", 1 + 18.2 + 0.2)).outcome == "PROVEN"


def test_the_exact_time_of_a_stage_replaces_the_polled_one():
    entries = proven()
    entries.insert(9, stage("firing", 13))
    assert {s.name: s.seconds for s in verdict(entries).stages}["firing"] == 12


def test_judging_changes_nothing_and_gives_the_same_twice():
    entries = proven()
    records = [Record(number, T0, 0.0, kind, data, "") for number, (kind, data) in enumerate(entries)]
    before = [record.line() for record in records]
    assert judge(records) == judge(tuple(records))
    assert [record.line() for record in records] == before


def test_a_verdict_is_plain_data():
    judged = verdict(proven()).to_dict()
    assert (judged["outcome"], judged["exit_code"]) == ("PROVEN", 0)
    assert judged["stages"][0]["name"] == "pending"


def test_every_prefix_of_a_journal_has_a_verdict_that_is_not_proven():
    """kill -9 may come after any record."""
    for length in range(1, len(proven())):
        judged = verdict(proven()[:length])
        assert judged.outcome in ("ABORTED", "REVERT_FAILED"), length


def test_a_drill_that_expected_no_alert_proves_nothing():
    experiment = {**STARTED["experiment"], "expect": {}, "allow": [{"alertname": "*"}]}
    judged = verdict(with_data("started", experiment=experiment))
    assert judged.outcome == "ABORTED"
    assert judged.reason == "the journal names no alert that had to come or had to stay away, so it proves nothing"


@pytest.mark.parametrize("old", [{}, {"format": FORMAT - 1}])
def test_a_journal_with_other_facts_is_refused(old):
    started = {name: value for name, value in STARTED.items() if name != "format"}
    with pytest.raises(ObsctlError, match="another version of obsctl"):
        verdict([("started", {**started, **old}), *proven()[1:]])
