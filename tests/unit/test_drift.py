"""Has a job changed: by its mark, and by Nomad's plan diff.

The answers in nomad_upgrade/ were recorded of one cluster: a stack deployed on Nomad 1.6.1, and the same data folder
under Nomad 2.0.5. hcl: as rendered. parsed: of /v1/jobs/parse. job: as Nomad holds it. plan: of the parsed job.
plan_as_it_is: of the job as Nomad holds it.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from obsctl.stack import drift
from obsctl.stack.observe import Desired, Observed, desire, observe
from obsctl.stack.plan import plan
from obsctl.stack.render import Rendered, RenderedJob
from tests.fakes.consul import FakeConsul
from tests.fakes.nomad import FakeNomad
from tests.world import SECRET, reasons

JOB = "obs-warden"
RECORDED = {
    file.stem: json.loads(file.read_text(encoding="utf-8"))
    for file in (Path(__file__).parent / "nomad_upgrade").glob("*.json")
}


class RecordedNomad(FakeNomad):
    """Answers as the Nomad of this version did. changed: what somebody has changed of the job since."""

    def __init__(self, version: str, *, spec: str | None = None) -> None:
        super().__init__(consul=FakeConsul())
        self.recorded = deepcopy(RECORDED[version])
        if spec is not None:
            self.recorded["job"]["Meta"]["obsctl.spec"] = spec

    def parse_job(self, hcl: str) -> dict[str, Any]:
        return dict(self.recorded["parsed"])

    def jobs(self) -> list[dict[str, Any]]:
        return [self.recorded["job"]]

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.recorded["job"])

    def plan_job(self, job: dict[str, Any]) -> dict[str, Any]:
        return dict(self.recorded["plan_as_it_is" if job == self.recorded["job"] else "plan"])


def look(nomad: RecordedNomad, hcl: str | None = None) -> tuple[Desired, Observed]:
    rendered = Rendered("obs", (RenderedJob("warden", JOB, hcl or nomad.recorded["hcl"]),), (), ())
    desired = desire(rendered, nomad, lambda *_: pytest.fail("no secret is asked for"))
    return desired, observe(desired, nomad, FakeConsul())


def changes(nomad: RecordedNomad, hcl: str | None = None) -> dict[str, str]:
    return reasons(plan(*look(nomad, hcl)))


def test_nomads_own_answers_differ_between_the_two_versions() -> None:
    assert RECORDED["1.6.1"]["parsed"] != RECORDED["2.0.5"]["parsed"]
    assert RECORDED["1.6.1"]["plan"]["Diff"]["Type"] == "None"
    assert RECORDED["2.0.5"]["plan"]["Diff"]["Type"] == "Edited"


@pytest.mark.parametrize("version", RECORDED)
@pytest.mark.parametrize("spec", [None, "0123456789abcdef"], ids=["its mark", "a mark of the old kind"])
def test_a_newer_nomad_alone_changes_nothing(version: str, spec: str | None) -> None:
    assert changes(RecordedNomad(version, spec=spec)) == {}


@pytest.mark.parametrize("version", RECORDED)
def test_another_text_is_a_change(version: str) -> None:
    nomad = RecordedNomad(version)
    changed = nomad.recorded["hcl"].replace("priority = 80", "priority = 81")
    assert changes(nomad, changed) == {JOB: "update: the configuration changed"}


def added(nomad: RecordedNomad, name: str, old: str, new: str) -> None:
    """Somebody has changed a field of the job: both plans see what they did."""
    diff = nomad.recorded["plan"]["Diff"]
    diff |= {"Type": "Edited", "Fields": [*(diff["Fields"] or []), field(name, old, new)]}


@pytest.mark.parametrize("version", RECORDED)
@pytest.mark.parametrize(
    ("spec", "reason"),
    [(None, "it was changed outside obsctl"), ("0123456789abcdef", "it is not as configured")],
    ids=["its mark", "a mark of the old kind"],
)
def test_what_somebody_changed_is_seen_among_what_the_server_changed(
    version: str, spec: str | None, reason: str
) -> None:
    nomad = RecordedNomad(version, spec=spec)
    added(nomad, "Priority", "70", "80")
    assert changes(nomad) == {JOB: f"update: {reason}"}
    _, observed = look(nomad)
    assert observed.jobs[JOB].differences == ("Priority: 70 → 80",)


def constraint(kind: str, value: str) -> dict[str, Any]:
    side = {"Added": "New", "Deleted": "Old"}[kind]
    values = {"LTarget": "${attr.kernel.name}", "Operand": "=", "RTarget": value}
    fields = [{"Name": name, "Old": "", "New": "", "Type": kind} | {side: text} for name, text in values.items()]
    return {"Name": "Constraint", "Type": kind, "Fields": fields, "Objects": None}


@pytest.mark.parametrize("level", ["job", "group"])
def test_a_constraint_that_somebody_added_or_removed_is_seen(level: str) -> None:
    nomad = RecordedNomad("2.0.5")
    own = {"LTarget": "${attr.kernel.name}", "Operand": "=", "RTarget": "linux"}
    diff, job = nomad.recorded["plan"]["Diff"], nomad.recorded["parsed"]
    if level == "group":
        diff, job = diff["TaskGroups"][0], job["TaskGroups"][0]
    job["Constraints"] = [own]
    diff["Objects"] = [*(diff["Objects"] or []), constraint("Added", "linux"), constraint("Deleted", "darwin")]
    nomad.recorded["plan"]["Diff"]["Type"] = "Edited"
    _, observed = look(nomad)
    assert [line.split(".", 1)[-1] for line in observed.jobs[JOB].differences if "RTarget" in line] in (
        ["RTarget: (none) → linux", "RTarget: darwin → (none)"],
        ["Constraint.RTarget: (none) → linux", "Constraint.RTarget: darwin → (none)"],
    )


def test_a_constraint_on_consul_that_the_newer_server_does_not_ask_for_is_no_change() -> None:
    """Of a service that stands at its task Nomad 1.6.1 asks for it in the group, and 2.0.5 does not."""
    nomad = RecordedNomad("2.0.5")
    group = nomad.recorded["plan"]["Diff"]["TaskGroups"][0]
    group["Objects"] = [item for item in group["Objects"] if (item["Name"], item["Type"]) != ("Constraint", "Added")]
    deleted = [item for item in group["Objects"] if (item["Name"], item["Type"]) == ("Constraint", "Deleted")]
    assert deleted
    assert changes(nomad) == {}
    deleted[0]["Fields"][0]["Old"] = "${attr.kernel.name}"
    assert changes(nomad) == {JOB: "update: it was changed outside obsctl"}


def test_a_constraint_that_somebody_put_beside_an_implied_one_is_seen() -> None:
    nomad = RecordedNomad("2.0.5")
    group = nomad.recorded["plan"]["Diff"]["TaskGroups"][0]
    added = constraint("Deleted", "= 1.0.0")
    for item, value in zip(added["Fields"], ("${attr.consul.version}", "semver", "= 1.0.0"), strict=True):
        item["Old"] = value
    group["Objects"].append(added)
    assert changes(nomad) == {JOB: "update: it was changed outside obsctl"}


@pytest.mark.parametrize("marker", ["EOT", "END-OF-IT"])
def test_a_comment_in_a_heredoc_is_text(marker: str) -> None:
    job = f'job "a" {{\n  data = <<-{marker}\n  # one\n  {marker}\n}}\n'
    assert drift.spec_of(job) != drift.spec_of(job.replace("# one", "# two"))


def test_the_mark_is_of_what_the_text_means() -> None:
    job = 'job "a" {\n  # a comment\n\n  type = "service"\n}\n'
    assert drift.spec_of(job) == drift.spec_of('job "a" {\ntype = "service"\n}\n')
    assert drift.spec_of(job) != drift.spec_of(job.replace("service", "batch"))


def test_in_a_heredoc_every_line_counts() -> None:
    job = 'job "a" {\n  data = <<-EOT\n  # one\n\n  EOT\n  # a comment\n}\n'
    assert drift.spec_of(job) != drift.spec_of(job.replace("# one", "# two"))
    assert drift.spec_of(job) != drift.spec_of(job.replace("\n\n", "\n"))
    assert drift.spec_of(job) == drift.spec_of(job.replace("# a comment", ""))


def test_a_job_with_an_old_mark_gets_the_new_one_with_its_next_change() -> None:
    nomad = RecordedNomad("2.0.5", spec="0123456789abcdef")
    added(nomad, "Priority", "70", "80")
    desired, observed = look(nomad)
    job = desired.jobs[0]
    assert replace(observed.jobs[JOB], meta=job.job["Meta"]).spec == job.spec == drift.spec_of(nomad.recorded["hcl"])


def test_what_may_be_long_or_secret_is_named_but_not_shown() -> None:
    nomad = FakeNomad(consul=FakeConsul())
    nomad.register_job({"ID": JOB, "Name": JOB})
    template = {"Name": "Template", "Type": "Edited", "Fields": [field("EmbeddedTmpl", "old", SECRET)]}
    fields = [field("Env[A]", "", SECRET), field("Driver", "docker", "exec")]
    task = {"Name": "warden", "Type": "Edited", "Fields": fields, "Objects": [template]}
    mark = field("Meta[obsctl.spec]", "1", "2")
    group = {"Name": "warden", "Type": "Edited", "Fields": [mark], "Tasks": [task]}
    assert drift.differences({"Type": "Edited", "TaskGroups": [group]}, {"ID": JOB}, nomad) == [
        "warden.warden.Env[A] changed",
        "warden.warden.Driver: docker → exec",
        "warden.warden.Template.EmbeddedTmpl changed",
    ]


def field(name: str, old: str, new: str) -> dict[str, str]:
    return {"Name": name, "Type": "Edited", "Old": old, "New": new}
