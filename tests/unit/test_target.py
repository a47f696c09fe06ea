from dataclasses import replace

import pytest
import yaml

from obsctl.config.schema import Service
from obsctl.drills.plan.forecast import Settings
from obsctl.errors import NotFound, ObsctlError
from tests.drill_world import ALERTMANAGER, JOB, JOB_ID, PROMETHEUS, SERVICE, DrillWorld


@pytest.fixture
def world(tmp_path):
    return DrillWorld(tmp_path)


def alert(world):
    (found,) = world.target().alerts.values()
    return found


def test_the_job_the_rule_the_route_and_the_settings_are_read_from_the_live_cluster(world):
    target = world.target()
    found = alert(world)
    assert target.job_id == JOB_ID
    assert found.rule["name"] == "ServiceDown"
    assert found.labels == {"alertname": "ServiceDown", "service": SERVICE, "severity": "critical"}
    assert found.route.receiver == "alert-sink"
    assert found.forecast.settings == Settings(
        scrape_interval=2, scrape_timeout=1, evaluation_interval=1, pending=10, keep_firing=0,
        group_wait=1, group_interval=2, refresh_interval=2,
    )  # fmt: skip


def test_a_service_that_is_not_in_consul_is_said(world):
    world.nomad.stop_job(JOB_ID)
    with pytest.raises(ObsctlError, match="there is no service response in Consul") as failure:
        world.target()
    assert "consul catalog services" in failure.value.hint


def test_a_service_that_nomad_did_not_register_cannot_be_drilled(world):
    world.nomad.stop_job(JOB_ID)
    world.consul.register(SERVICE)
    with pytest.raises(ObsctlError, match="no Nomad job registered it"):
        world.target()


def test_a_service_of_another_namespace_is_no_target_though_ours_has_a_job_of_that_name(world):
    """The fake has one namespace; all that is looked at is what the allocations say."""
    world.nomad.report_allocations(JOB_ID, Namespace="team")
    with pytest.raises(
        ObsctlError, match=f"response is the job {JOB_ID} in namespace team, and a drill acts in default"
    ):
        world.target()


def test_a_service_that_several_jobs_run_names_the_others(world):
    world.nomad.register_job({**JOB, "ID": "zz-green"})
    world.consul.register(SERVICE)
    target = world.target()
    assert target.job_id == JOB_ID
    assert target.others == ("the job zz-green in namespace default", "something that is no Nomad job")


def test_a_job_that_declares_no_such_service_is_no_target(world):
    """Somebody registered the service in Consul under the id of another job's allocation."""
    world.nomad.stop_job(JOB_ID)
    store = register_as_a_job_of(world, "obs-jaeger")
    words = f"response is in Consul as a service of the job {store}, which declares no service of that name"
    with pytest.raises(ObsctlError, match=words) as failure:
        world.target()
    assert "consul catalog nodes -service response" in failure.value.hint


def test_next_to_the_job_that_declares_it_another_is_named(world):
    register_as_a_job_of(world, "a-store")
    target = world.target()
    assert target.job_id == JOB_ID
    assert target.others == ("the job a-store in namespace default",)


def register_as_a_job_of(world, job_id):
    world.nomad.register_job({**JOB, "ID": job_id, "Name": job_id, "TaskGroups": [
        {"Name": "main", "Count": 1, "Services": [{"Name": "store"}], "Tasks": [{"Name": "main"}]}
    ]})  # fmt: skip
    [allocation] = world.nomad.job_allocations(job_id)
    world.consul.register(SERVICE, instance=f"_nomad-task-{allocation['ID']}-group-x-{SERVICE}-http")
    return job_id


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, "aa-blue"),
        ({"severity": "page"}, "aa-blue"),
        ({"job": JOB_ID}, JOB_ID),
        ({"job": JOB_ID, "namespace": "default"}, JOB_ID),
    ],
)
def test_of_several_jobs_the_one_of_obsctl_yaml_is_the_target(world, said, found):
    world.nomad.register_job({**JOB, "ID": "aa-blue"})
    world.services = {SERVICE: Service(**said)}
    assert world.target().job_id == found


@pytest.mark.parametrize("said", [{"job": "shop"}, {"job": JOB_ID, "namespace": "team"}, {"namespace": "default"}])
def test_another_job_than_the_one_of_obsctl_yaml_is_no_target(world, said):
    world.services = {SERVICE: Service(**said)}
    with pytest.raises(ObsctlError, match=f"says obsctl.yaml, but {JOB_ID} registered it") as failure:
        world.target()
    assert "services.response" in failure.value.hint


def test_a_job_of_the_same_name_in_another_namespace_is_another_one(world):
    world.nomad.register_job({**JOB, "ID": "zz-green"})
    world.nomad.report_allocations("zz-green", Namespace="team", JobID=JOB_ID)
    assert world.target().others == (f"the job {JOB_ID} in namespace team",)


def test_an_allocation_that_nomad_does_not_show_is_said(world):
    world.nomad.failures["allocation"] = NotFound("404", hint="")
    with pytest.raises(ObsctlError, match="which Nomad does not know or does not show"):
        world.target()


def test_a_service_without_its_rule_is_said(world):
    world.rule["labels"] = {"service": "other"}
    with pytest.raises(ObsctlError, match='no alert rule with alertname="ServiceDown", service="response"') as failure:
        world.target()
    assert "services:" in failure.value.hint


def test_a_service_that_is_not_scraped_is_said(world):
    world.prometheus.active_targets = []
    group = JOB["TaskGroups"][0]
    world.nomad.register_job({**JOB, "TaskGroups": [{**group, "Services": [{"Name": SERVICE, "Tags": []}]}]})
    with pytest.raises(ObsctlError, match="does not scrape response") as failure:
        world.target()
    assert "give the service the Consul tag obsctl.scrape" in failure.value.hint


def test_a_service_that_has_the_tag_and_is_not_scraped_yet_is_to_be_waited_for(world):
    """So it is right after a drill that was interrupted."""
    world.prometheus.active_targets = []
    with pytest.raises(ObsctlError, match="does not scrape response yet") as failure:
        world.target()
    assert failure.value.hint == "Consul has it with the tag obsctl.scrape: try again in 62 s"


def routed(world, **route):
    world.alertmanager.config = yaml.safe_dump({**ALERTMANAGER, "route": {**ALERTMANAGER["route"], **route}})
    return alert(world)


def test_the_route_to_alert_sink_is_chosen_among_several(world):
    children = [
        {"receiver": "people", "continue": True, "group_wait": "9s"},
        {"receiver": "alert-sink", "group_wait": "3s"},
    ]
    found = routed(world, receiver="nobody", routes=children)
    assert [route.receiver for route in found.routes] == ["people", "alert-sink"]
    assert found.forecast.settings.group_wait == 3


def test_an_alert_that_does_not_reach_alert_sink_has_no_route(world):
    assert routed(world, receiver="people").route is None


def test_a_route_may_ask_for_the_labels_that_prometheus_adds(world):
    world.prometheus.config = yaml.safe_dump({**PROMETHEUS, "global": {"external_labels": {"stack": "obs"}}})
    children = [{"receiver": "people", "matchers": ['stack="obs"']}]
    assert routed(world, routes=children).route is None


def test_without_a_word_consul_discovery_waits_for_30_seconds(world):
    world.prometheus.config = yaml.safe_dump({"scrape_configs": [{"job_name": "consul", "consul_sd_configs": [{}]}]})
    assert alert(world).forecast.settings.refresh_interval == 30
    world.prometheus.config = yaml.safe_dump({"scrape_configs": [{"job_name": "consul"}]})
    assert alert(world).forecast.settings.refresh_interval == 30


def test_keep_firing_for_is_read(world):
    world.rule["keepFiringFor"] = 60
    assert alert(world).forecast.settings.keep_firing == 60


def test_each_expected_alert_has_its_own_rule_and_forecast(world):
    world.expect("JobNotRunning")
    world.rules[1].update(duration=30)
    found = world.target().alerts
    assert [expected.rule["name"] for expected in found.values()] == ["ServiceDown", "JobNotRunning"]
    assert [expected.forecast.settings.pending for expected in found.values()] == [10, 30]


@pytest.mark.parametrize(
    ("template", "service"),
    [
        ("{{ $labels.job }}", SERVICE),
        ("{{$labels.job}}", SERVICE),
        ("{{- .Labels.job -}}", SERVICE),
        ("{{ $labels.job }}-east", f"{SERVICE}-east"),
        ("{{ $labels.service_name }}", SERVICE),  # of the expression's result alone: as the drill expects it
        ('{{ $labels.job | reReplaceAll "a" "b" }}', SERVICE),
    ],
)
def test_a_label_that_the_rule_fills_by_template_is_the_targets(world, template, service):
    world.rule["labels"] = {"service": template, "team": "{{ $labels.team }}"}
    world.experiment = replace(world.experiment, expect={"A": {"alertname": "ServiceDown", "service": service}})
    assert alert(world).labels["service"] == service


def test_a_rule_whose_template_gives_another_service_is_another_rule(world):
    world.rule["labels"] = {"service": "{{ $labels.job }}-east"}
    with pytest.raises(ObsctlError, match="no alert rule"):
        world.target()


def test_a_recording_rule_is_no_alert(world):
    world.rules.insert(0, {"type": "recording", "name": "ServiceDown", "query": "up"})
    assert alert(world).rule["type"] == "alerting"


STRAY = {
    "type": "alerting",
    "name": "ServiceDown",
    "query": "absent(foo)",
    "duration": 600,
    "keepFiringFor": 600,
    "health": "ok",
}


@pytest.mark.parametrize("label", ["{{ $labels.app }}", "{{ $labels.job }}"])
@pytest.mark.parametrize("query", ["absent(foo)", "up == 0"])
def test_a_rule_with_the_very_labels_comes_before_one_that_fills_them_in(world, label, query):
    world.rules.insert(0, {**STRAY, "query": query, "labels": {"service": label}})
    assert alert(world).rule["duration"] == 10


def test_a_rule_by_template_that_reads_something_else_is_not_the_services(world):
    world.rules[:] = [{**STRAY, "query": 'absent(up{job="other"})', "labels": {"service": "{{ $labels.app }}"}}]
    with pytest.raises(ObsctlError, match="no alert rule"):
        world.target()
