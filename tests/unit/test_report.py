import json

import pytest

from obsctl.drills.tell import report
from obsctl.drills.tell.checks import checks
from obsctl.drills.tell.journal import FORMAT, Journal
from obsctl.drills.tell.page import html
from obsctl.drills.tell.verdict import judge
from obsctl.errors import Forbidden, ObsctlError
from tests.drill_world import DRILL_ID, DrillWorld


@pytest.fixture
def world(tmp_path):
    return DrillWorld(tmp_path)


def test_a_proven_drill_is_told_on_one_screen(world):
    world.run()
    text = report.text(world.on_disk())
    assert text.splitlines()[0] == f"Drill {DRILL_ID}"
    for words in ("The job of response is stopped", "pending", "delivered", "resolved", "armed: the warden on"):
        assert words in text
    assert text.splitlines()[-1].startswith("PROVEN: delivered 12.0 s after the fault")
    assert len(text.splitlines()) < 25
    assert "outside" not in text


def test_the_report_made_anew_is_the_one_from_memory(world):
    world.run()
    assert report.text(world.on_disk()) == report.text(world.journal.records)


def test_a_stage_outside_its_band_is_marked(world):
    world.alerts.delay = 20
    world.run()
    marked = [line for line in report.text(world.on_disk()).splitlines() if line.endswith("outside")]
    assert marked[0].startswith("  delivered    32.0s       10.0 - 18.2")


def test_a_failed_revert_shows_what_to_type(world):
    def refuse(number, name):
        if name == "journal.reverting":
            world.nomad.failures["register_job"] = Forbidden("403", hint="")

    world.on_step = refuse
    world.run()
    assert "by hand: nomad job start demo-response; obsctl drill recover" in report.text(world.on_disk())


def test_every_prefix_of_a_journal_can_be_reported(world):
    """kill -9 may come after any record."""
    world.run()
    records = world.on_disk()
    for length in range(1, len(records)):
        text = report.text(records[:length])
        assert text.splitlines()[-1].startswith(("ABORTED", "REVERT_FAILED"))


def test_the_document_has_the_verdict_and_the_whole_journal(world):
    world.run()
    made = json.loads(json.dumps(report.document(world.on_disk())))
    assert made["id"] == DRILL_ID
    assert made["verdict"]["outcome"] == "PROVEN"
    assert [record["kind"] for record in made["journal"]] == world.kinds()
    assert judge(world.on_disk()).exit_code == made["verdict"]["exit_code"]


def test_the_forecast_is_a_table_of_its_stages(world):
    world.run()
    table = report.forecast_table(world.target().forecasts())
    assert [line.split()[0] for line in table.splitlines()] == [
        "stage", "pending", "firing", "delivered", "cleared", "resolved",
    ]  # fmt: skip
    assert "the service is back" in table


def test_the_one_of_several_alerts_that_came_is_named(world):
    world.expect("SlowlyDown").rule = lambda is_up: False
    world.run()
    assert " ServiceDown response" in report.text(world.on_disk()).splitlines()


def test_several_alerts_each_have_their_heading(world):
    world.expect("JobNotRunning")
    world.run()
    for text in (report.text(world.on_disk()), report.forecast_table(world.target().forecasts())):
        lines = text.splitlines()
        assert lines.index(" ServiceDown response") < lines.index(" JobNotRunning")


@pytest.mark.parametrize(
    "facts", [{"experiment": {"other": 1}}, {"experiment": None}, {"forecasts": []}, {"forecasts": {"A": {}}}, {}]
)
@pytest.mark.parametrize("make", [report.document, report.text, html, checks])
def test_facts_that_obsctl_does_not_write_are_no_bug(tmp_path, facts, make):
    journal = Journal.create(tmp_path, "strange")
    journal.append("started", format=FORMAT, drill="strange", **facts)
    journal.close()
    with pytest.raises(ObsctlError, match="holds facts that obsctl does not write"):
        report.again(journal.path, make)
