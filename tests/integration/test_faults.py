"""What the revert takes for granted of Nomad: versions, races, and what other people do to the job meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

import pytest

from obsctl.clients import jobs
from obsctl.config.secrets import Secret
from obsctl.drills import kept, recipes
from obsctl.drills.faults.stop import FAULT as STOP
from obsctl.drills.recipes import Recipe
from obsctl.drills.world import Cluster
from obsctl.errors import Conflict, NotFound
from obsctl.wait import SYSTEM_CLOCK, wait_until

pytestmark = pytest.mark.real

JOB = """
job "%(name)s" {
  group "main" {
    update {
      health_check     = "task_states"
      min_healthy_time = "100ms"
    }
    network {
      port "http" {}
    }
    service {
      name     = "%(name)s"
      port     = "http"
      provider = "consul"
    }
    task "main" {
      driver = "raw_exec"
      config {
        command = "/bin/sleep"
        args    = ["600"]
      }
      resources {
        cpu    = 20
        memory = 20
      }
    }
  }
}
"""


class Subject:
    """A job that runs on a real cluster, and its recipe."""

    def __init__(self, cluster):
        self.nomad = cluster.nomad
        self.consul = cluster.consul
        self.cluster = Cluster("faults", "default", self.nomad, self.consul, Secret("a key"))
        self.name = f"fault-{uuid4().hex[:8]}"
        self.nomad.register_job(self.nomad.parse_job(JOB % {"name": self.name}))
        self.recipe = self.made()
        self.until_back()

    def made(self):
        job, now = self.nomad.job(self.name), SYSTEM_CLOCK.now()
        self.job = job
        recipe = Recipe(
            drill=uuid4().hex, stack="faults", namespace="default", fault="stop", service=self.name, job=self.name,
            version=job["Version"], digest=kept.digest_of(jobs.spec(job)), session="", created_at=now,
            deadline=now + 60, data={},
        )  # fmt: skip
        kept.keep(self.cluster, recipe, jobs.spec(job))
        return recipe

    def until_back(self):
        self.until("the service to be back", lambda: STOP.is_gone(self.cluster, self.recipe))

    def until_gone(self):
        return self.until("the effect", lambda: STOP.effect_at(self.cluster, self.recipe))

    def until(self, what, probe):
        return wait_until(probe, timeout=30, interval=0.05, failure=f"no sign of {what}", hint="")

    def version(self):
        return self.nomad.job(self.name)["Version"]

    def put(self, path, body):
        return self.nomad.session.put(f"/v1/job/{self.name}{path}", json=body, accept=range(400, 600))

    def scale(self, count):
        return self.put("/scale", {"Count": count, "Target": {"Group": "main"}})

    def is_idle(self):
        evaluations = self.nomad.job_evaluations(self.name)
        ended = all(evaluation["Status"] in ("complete", "failed", "canceled") for evaluation in evaluations)
        return ended and not _running(self)

    def purge(self):
        """Only once Nomad has nothing more to do for it: 1.11.2 dies when a job goes while a plan for it is applied
        (nil pointer in nomad/plan_apply.go, applyPlan)."""
        with suppress(NotFound):
            if not self.nomad.job(self.name)["Stop"]:
                self.nomad.stop_job(self.name)
            self.until("the end of its work", self.is_idle)
        self.nomad.session.delete(f"/v1/job/{self.name}", params={"purge": "true"})


@pytest.fixture
def subject(cluster):
    made = Subject(cluster)
    yield made
    made.purge()


def _running(subject):
    with suppress(NotFound):
        return [a for a in subject.nomad.job_allocations(subject.name) if a["ClientStatus"] == "running"]
    return []


def test_a_stop_and_a_start_each_make_one_version_drill_after_drill(subject):
    for round in range(3):
        subject.recipe = subject.made()
        assert subject.version() == 2 * round
        asked = SYSTEM_CLOCK.now()
        STOP.inject(subject.cluster, subject.recipe)
        assert subject.version() == subject.recipe.version + 1
        effect = subject.until_gone()
        assert asked - 1 < effect < SYSTEM_CLOCK.now() + 1
        assert STOP.revert(subject.cluster, subject.recipe).state == "reverted"
        assert subject.version() == subject.recipe.version + 2
        subject.until_back()
        assert STOP.revert(subject.cluster, subject.recipe).state == "already"


def test_a_revert_right_after_the_stop_does_not_wait_for_the_tasks(subject):
    STOP.inject(subject.cluster, subject.recipe)
    assert STOP.revert(subject.cluster, subject.recipe).state == "reverted"
    subject.until_back()
    assert len(_running(subject)) == 1


def test_what_a_deployment_does_to_a_job_makes_no_version(subject):
    """Its marks "stable" and "status" change after the recipe was made."""
    subject.until("a stable job", lambda: subject.nomad.job(subject.name)["Stable"])
    assert subject.version() == 0
    STOP.inject(subject.cluster, subject.recipe)
    assert STOP.revert(subject.cluster, subject.recipe).state == "reverted"


def test_a_job_that_was_scaled_since_is_not_stopped(subject):
    subject.until("a scaling that Nomad takes", lambda: subject.scale(2).ok)  # not while it deploys
    with pytest.raises(Conflict, match="somebody changed the job"):
        STOP.inject(subject.cluster, subject.recipe)
    assert not subject.nomad.job(subject.name)["Stop"]


def test_a_job_that_is_scaled_while_it_is_stopped_is_started_with_its_new_count(subject):
    STOP.inject(subject.cluster, subject.recipe)
    subject.until_gone()
    assert subject.scale(2).ok
    assert subject.nomad.job(subject.name)["Stop"]
    assert subject.version() == subject.recipe.version + 2
    assert STOP.revert(subject.cluster, subject.recipe).state == "reverted"
    subject.until_back()
    assert len(_running(subject)) == 2


def test_a_deploy_during_the_fault_is_not_overwritten(subject):
    STOP.inject(subject.cluster, subject.recipe)
    subject.nomad.register_job({**subject.job, "Stop": False, "Priority": 70})
    assert STOP.revert(subject.cluster, subject.recipe).state == "already"
    assert subject.nomad.job(subject.name)["Priority"] == 70


def test_a_second_stop_by_an_operator_is_not_undone(subject):
    STOP.inject(subject.cluster, subject.recipe)
    subject.nomad.stop_job(subject.name)
    assert STOP.revert(subject.cluster, subject.recipe).state == "superseded"


@pytest.mark.needs(nomad="1.9")
def test_a_version_with_a_tag_can_be_put_back(subject):
    assert subject.put("/versions/good/tag", {"Version": 0, "Description": "known good"}).ok
    subject.recipe = subject.made()
    STOP.inject(subject.cluster, subject.recipe)
    subject.until_gone()
    assert STOP.revert(subject.cluster, subject.recipe).state == "reverted"
    subject.until_back()


def test_a_purged_job_is_registered_from_the_recipe(subject):
    STOP.inject(subject.cluster, subject.recipe)
    subject.until_gone()
    subject.purge()
    assert STOP.revert(subject.cluster, subject.recipe).state == "reverted"
    subject.until_back()


def test_four_reverts_at_the_same_moment_start_the_job_once(subject):
    """obsctl, the warden, and two who run obsctl drill recover. Nomad may take more than one of them."""
    STOP.inject(subject.cluster, subject.recipe)
    subject.until_gone()
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: STOP.revert(subject.cluster, subject.recipe).state, range(4)))
    assert {"reverted"} <= set(done) <= {"reverted", "already"}
    subject.until_back()
    assert subject.nomad.job(subject.name)["TaskGroups"] == subject.job["TaskGroups"]
    assert len(_running(subject)) == 1


def test_a_rehearsal_leaves_the_job_as_it_is(subject):
    before = subject.nomad.job(subject.name)
    STOP.rehearse(subject.cluster, subject.recipe)
    assert subject.nomad.job(subject.name) == before


def test_what_the_warden_adds_to_a_recipe_that_was_removed_is_refused_by_consul(subject):
    recipes.write(subject.cluster, subject.recipe)
    (seen,) = recipes.read(subject.cluster)
    recipes.remove(subject.cluster, subject.recipe.drill)
    with pytest.raises(Conflict):
        recipes.amend(subject.cluster, subject.recipe, seen, ack={}, outcome=None)
    assert recipes.read(subject.cluster) == []
