"""drill selftest: every case ends in its verdict, what was broken is mended, and a wrong verdict is told."""

import pytest

from obsctl.drills.run import selftest
from obsctl.drills.tell import report
from obsctl.drills.tell.journal import read
from obsctl.errors import Interrupted, ObsctlError, Unreachable
from obsctl.lease import hold
from tests.drill_world import STACK, DrillWorld


@pytest.fixture
def world(tmp_path):
    return DrillWorld(tmp_path)


def run(world, *cases):
    """The self test with these cases alone; by default with all."""
    with pytest.MonkeyPatch.context() as patch, hold(world.consul, STACK, selftest.COMMAND, clock=world.clock) as held:
        patch.setattr(selftest, "CASES", cases or selftest.CASES)
        return list(selftest.run(world.experiment, world.world, held, world.folder / "journals"))


def case(name):
    return next(each for each in selftest.CASES if each.name == name)


def assert_nothing_is_left(world):
    assert world.runs()
    assert world.entries() == []
    assert world.alertmanager.silences() == []


def test_every_case_ends_in_the_verdict_that_names_what_is_broken(world):
    results = run(world)
    assert [each.to_dict() for each in results if not each.is_as_designed] == []
    assert [each.case for each in results] == [selftest.SECOND, *selftest.CASES]
    assert {each.exit_code for each in results} == {0, 11, 13, 20, 21, 22, 30}
    assert_nothing_is_left(world)


def test_the_report_of_each_drill_says_that_it_is_a_self_test_and_of_what(world):
    _, result = run(world, case("silenced"))
    text = report.text(read(world.folder / "journals" / f"{result.drill}.jsonl"))
    assert "(self test: a silence covers the alert)" in text


def test_a_case_whose_drill_notices_nothing_is_not_as_designed(world):
    world.alertmanager.silence = lambda labels, until, comment: "of nothing"
    _, result = run(world, case("silenced-later"))
    assert (result.outcome, result.is_as_designed) == ("PROVEN", False)
    assert result.to_dict()["expected"] == "UNDELIVERED"


def test_a_verdict_for_another_reason_is_not_as_designed(world):
    world.alerts.delivers = lambda status: False
    world.alertmanager.silence = lambda labels, until, comment: "of nothing"
    _, result = run(world, case("silenced-later"))
    assert (result.outcome, result.is_as_designed) == ("UNDELIVERED", False)


def test_it_does_not_begin_when_the_stack_is_not_steady(world):
    world.prometheus.alertmanager_urls = []
    with pytest.raises(ObsctlError, match=r"not steady, so nothing can be tested: alert path: .* Alertmanagers"):
        run(world)
    assert world.versions() == 0


@pytest.mark.parametrize("name", [each.name for each in selftest.CASES])
def test_ctrl_c_in_any_case_mends_it_and_ends_the_test(world, name):
    def interrupt(number, step):
        world.interrupted = world.interrupted or step == "journal.reverting" or step == "say.steady.ok"

    world.on_step = interrupt
    with pytest.raises(Interrupted):
        run(world, case(name), case("nothing"))
    assert_nothing_is_left(world)


def test_what_cannot_be_mended_is_an_error_that_says_so(world):
    def away(silence_id):
        raise Unreachable("Alertmanager does not answer", hint="")

    world.alertmanager.expire = away
    with pytest.raises(ObsctlError, match="a silence begins during the fault: Alertmanager does not answer") as raised:
        run(world, case("silenced-later"))
    assert "ends by itself within" in raised.value.hint
    assert world.runs()
    assert world.entries() == []
