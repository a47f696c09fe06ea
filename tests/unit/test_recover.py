import pytest

from obsctl.config.api_servers import ConsulServer
from obsctl.drills import recipes
from obsctl.drills.faults.stop import FAULT as STOP
from obsctl.drills.run.reverting import finish_journal, left, recover
from obsctl.drills.tell.journal import Journal, read
from obsctl.errors import ObsctlError, Unreachable
from tests.drill_world import DRILL_ID, JOB_ID, STACK, DrillWorld


@pytest.fixture
def world(tmp_path):
    """A drill that died after its fault; no warden is there yet."""
    made = DrillWorld(tmp_path)
    made.warden_lives = False
    STOP.inject(made.cluster, made.write())
    made.consul.expire(made.lease.session)
    return made


def recovered(world):
    found = world.entry()
    return recover(world.world, found, found.recipe)


def test_a_service_that_nobody_put_back_is_put_back(world):
    done = recovered(world)
    assert (done.state, done.by) == ("reverted", "obsctl drill recover")
    assert world.runs()
    assert world.entries() == []


def test_what_the_warden_did_is_told_as_its_deed(world):
    world.warden_lives = True
    world.pass_time(10)
    done = recovered(world)
    assert (done.state, done.by) == ("reverted", "the warden")
    assert world.versions() == 2
    assert world.entries() == []


def test_recovering_again_is_harmless(world):
    found = world.entry()
    recover(world.world, found, found.recipe)
    assert recover(world.world, found, found.recipe).state == "already"
    assert world.versions() == 2


def test_a_job_that_an_operator_stopped_since_stays_stopped(world):
    world.nomad.stop_job(JOB_ID)
    assert recovered(world).state == "superseded"
    assert not world.runs()
    assert world.entries() == []


def test_a_service_that_does_not_come_back_keeps_its_recipe(world):
    world.nomad.exits[JOB_ID] = "boom"
    with pytest.raises(ObsctlError, match=r"did not come back.*ended with exit code 1; its last line: boom") as failure:
        recovered(world)
    assert "obsctl drill recover again" in failure.value.hint
    assert len(world.entries()) == 1


def test_nomad_away_keeps_the_recipe(world):
    world.nomad.failures["*"] = Unreachable("Nomad is away", hint="start it")
    with pytest.raises(ObsctlError, match="Nomad is away"):
        recovered(world)
    assert len(world.entries()) == 1


def test_a_job_that_nomad_forgot_is_registered_as_the_drill_had_found_it(world):
    world.nomad.collect_garbage(JOB_ID)
    assert "Nomad had forgotten the job" in recovered(world).detail
    assert world.runs()
    assert world.entries() == []
    assert world.nomad.variable(f"nomad/jobs/{STACK}-warden/drill") is None


@pytest.mark.parametrize(
    ("drill", "command"),
    [
        ("0-forged", "consul kv delete KEY"),
        ("it is; reboot", "consul kv delete 'KEY'"),
        ("../../../agent/leave", """CURL -X PUT -d '[{"KV": {"Verb": "delete", "Key": "KEY"}}]' CONSUL/v1/txn"""),
        ("a\nb", """CURL -X PUT -d '[{"KV": {"Verb": "delete", "Key": "KEY\\nb"}}]' CONSUL/v1/txn"""),
        ("", """CURL -X PUT -d '[{"KV": {"Verb": "delete", "Key": "KEY"}}]' CONSUL/v1/txn"""),
    ],
)
def test_a_key_that_nobody_acts_on_is_named_with_a_command_that_removes_it_alone(world, drill, command):
    key = recipes.key(STACK, drill)
    world.consul.forge(key, b"{")
    (found,) = [entry for entry in recipes.read(world.cluster) if not entry.is_genuine]
    expected = command.replace("KEY", key.partition("\n")[0]).replace("CONSUL", "https://consul:8501")
    expected = expected.replace("CURL", 'curl -H "X-Consul-Token: $CONSUL_HTTP_TOKEN"')
    tls = {"ca_file": "/ca", "cert_file": "/own", "key_file": "/own key"}
    for server, options in ({}, ""), ({"tls": tls}, "--cacert /ca --cert /own --key '/own key' "):
        consul = ConsulServer(address="https://consul:8501", **server)
        assert left(found, consul).remove == expected.replace("-X PUT", f"{options}-X PUT")


def test_a_key_cannot_add_lines_to_what_is_said(world):
    world.consul.forge(recipes.key(STACK, "x\n20260101T000000Z-stop-web: web is back"), b"{")
    (found,) = [entry for entry in recipes.read(world.cluster) if not entry.is_genuine]
    named, removal = str(left(found, ConsulServer())).splitlines()
    assert named.startswith(f"left: Consul's key 'obsctl/{STACK}/drills/x\\n2026")
    assert removal.startswith("  to remove it: curl")


def test_the_journal_of_the_dead_drill_is_ended(world, tmp_path):
    journal = Journal.create(tmp_path, DRILL_ID)
    journal.append("started")
    journal.close()
    finish_journal(tmp_path, recovered(world))
    last = read(journal.path)[-1]
    assert (last.kind, last.data["by"], last.data["state"]) == ("recovered", "obsctl drill recover", "reverted")


def test_a_drill_that_ran_on_another_machine_has_no_journal_here(world, tmp_path):
    finish_journal(tmp_path, recovered(world))
    assert list(tmp_path.iterdir()) == []
