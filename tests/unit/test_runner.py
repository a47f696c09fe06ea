import pytest

from tests.drill_world import DrillWorld


@pytest.fixture
def world(tmp_path):
    return DrillWorld(tmp_path)


def test_a_sound_alert_is_proven_and_everything_is_as_before(world):
    verdict = world.run()
    assert (verdict.outcome, verdict.exit_code) == ("PROVEN", 0), verdict.reason
    assert world.runs()
    assert world.entries() == []
    assert [r.line() for r in world.on_disk()] == [r.line() for r in world.journal.records]
