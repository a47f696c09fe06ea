"""render, validate, plan and deploy as a user types them: what they say, and how they exit."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from obsctl import lease
from obsctl.cli import wire
from obsctl.config.schema import Config
from obsctl.errors import Forbidden, Unreachable
from obsctl.model import Finding
from tests.command import Obsctl, Ran
from tests.fakes import FakeJaeger, FakeLogs, FakeOtlp
from tests.world import ALERT_PATH, OTHERS_OFF, SECRET, World


@pytest.mark.usefixtures("world")
class TestOffline:
    def test_render_prints_every_file_under_its_name(self, folder: Path, obsctl: Obsctl) -> None:
        ran = obsctl("-q", "render")
        assert ran.code == 0
        assert '# ---- jobs/obs-prometheus.nomad.hcl\njob "obs-prometheus" {' in ran.out
        assert "# ---- kv/obsctl/obs/rules/stack" in ran.out

    def test_render_writes_the_same_bytes_every_time(self, folder: Path, obsctl: Obsctl) -> None:
        assert obsctl("render", "-o", "one").code == obsctl("render", "-o", "two").code == 0
        files = [
            {f.relative_to(folder / name): f.read_bytes() for f in (folder / name).rglob("*") if f.is_file()}
            for name in ("one", "two")
        ]
        assert files[0] == files[1]
        assert len(files[0]) == 7

    def test_what_is_rendered_is_its_owners_alone(self, folder: Path, obsctl: Obsctl) -> None:
        """Addresses, names of services and accounts stand in it."""
        (folder / "out" / "jobs").mkdir(parents=True)
        (folder / "out" / "jobs" / "obs-warden.nomad.hcl").write_text("from before, when all could read it")
        (folder / "elsewhere").write_text("not to be written")
        (folder / "out" / "jobs" / "obs-prometheus.nomad.hcl").symlink_to(folder / "elsewhere")
        assert obsctl("render", "-o", "out").code == 0
        made = [*(folder / "out" / "jobs").iterdir(), *(folder / "out" / "kv").rglob("*")]
        assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o600}
        assert {path.stat().st_mode & 0o777 for path in (folder / "out" / "kv").rglob("*") if path.is_dir()} == {0o700}
        assert (folder / "elsewhere").read_text() == "not to be written"

    def test_render_as_json_has_the_files(self, folder: Path, obsctl: Obsctl) -> None:
        document = obsctl("render", "--json").document()
        assert document["schema"] == "obsctl/render/v1"
        assert "jobs/obs-warden.nomad.hcl" in document["files"]

    def test_render_into_a_place_that_cannot_be_written(self, folder: Path, obsctl: Obsctl) -> None:
        (folder / "out").mkdir()
        (folder / "out" / "jobs").write_text("a file")
        ran = obsctl("render", "-o", "out")
        assert ran.code == 1
        assert "Error: cannot write out/jobs/obs-alert-sink.nomad.hcl: " in ran.err

    def test_validate_counts_what_it_found_good(self, folder: Path, obsctl: Obsctl) -> None:
        ran = obsctl("validate")
        assert ran.code == 0
        assert ran.out == "valid: 4 jobs, 3 files\n"
        assert "promtool was not found" in ran.err

    @pytest.mark.parametrize(
        ("yaml", "words"),
        [
            (
                "alerting: {rules: {ServiceDwon: {for: 1m}}}",
                "alerting.rules.ServiceDwon: there is no alert of this name (the alerts of this stack are ",
            ),
            ("alerting: {rule_files: [gone/*.yml]}", "alerting.rule_files: no file matches 'gone/*.yml'"),
            ("alerting: {rule_files: [bad.yml]}", "bad.yml:1: Mine: unclosed left parenthesis"),
            ("alerting: {rule_files: [t*.yml, gone.yml, bad.yml]}", "bad.yml:1: Mine: unclosed left parenthesis"),
        ],
    )
    def test_what_is_wrong_is_told_in_a_sentence(self, folder: Path, obsctl: Obsctl, yaml: str, words: str) -> None:
        (folder / "obsctl.yaml").write_text(yaml)
        (folder / "two.yml").write_text("groups: [{name: stack, rules: []}]")
        (folder / "bad.yml").write_text("groups: [{name: own, rules: [{alert: Mine, expr: 'sum('}]}]")
        ran = obsctl("validate")
        assert ran.code == 1
        assert words in ran.err
        assert "nothing was sent" in ran.err.splitlines()[-1]


class TestPlan:
    def test_it_shows_what_would_change_and_changes_nothing(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        ran = obsctl("plan")
        assert ran.code == 0
        assert "  + create job      obs-warden  (does not exist)" in ran.out
        assert ran.out.endswith("Plan: 10 to create, 0 to update, 0 to stop, 0 unchanged.\n")
        assert world.nomad.jobs() == []
        assert world.consul.entries("") == []

    def test_its_exit_code_tells_changes_only_when_it_is_asked_for(
        self, folder: Path, obsctl: Obsctl, world: World
    ) -> None:
        assert [obsctl("plan", "--exit-code").code, obsctl("plan").code] == [4, 0]
        assert obsctl("deploy", "--yes").code == 0
        ran = obsctl("plan", "--exit-code")
        assert (ran.code, ran.out.splitlines()[-1]) == (0, "Nothing to change: 10 as desired.")

    def test_as_json_it_is_the_plan_with_its_checksum(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        document = obsctl("plan", "--json").document()
        assert document["schema"] == "obsctl/plan/v1"
        assert (len(document["changes"]), document["counts"]["create"], len(document["checksum"])) == (10, 10, 16)

    def test_a_job_that_nomad_cannot_read_names_its_component(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        (folder / "jobs").mkdir()
        (folder / "jobs" / "warden.nomad.hcl.j2").write_text('job "<%= job %>" {\n')
        ran = obsctl("plan")
        assert ran.code == 1
        assert "Error: Nomad cannot read these jobs:\n  warden: Failed to parse job" in ran.err
        assert ran.err.splitlines()[-1].startswith("Hint: obsctl render -o DIR")

    def test_a_component_that_is_not_there_is_a_usage_error(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        ran = obsctl("plan", "mimir")
        assert ran.code == 2
        assert "no component mimir; there are alert-sink, alertmanager, prometheus, warden" in ran.err

    def test_a_server_that_is_away_is_one_sentence(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        world.nomad.failures["*"] = Unreachable("Nomad at http://x: refused", hint="is it there?")
        warnings = obsctl("validate").err
        assert obsctl("plan") == Ran(1, "", f"{warnings}Error: Nomad at http://x: refused\nHint: is it there?\n")


class TestDeploy:
    def test_it_shows_the_plan_then_each_step_then_the_sum(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        ran = obsctl("deploy", "--yes")
        assert ran.code == 0
        shown = [
            ran.out.index(words)
            for words in (
                "Plan: 10 to create", "→ obs-warden: create", "✓ obs-prometheus: created", "✓ alert path: works",
                "Deployed: 10",
            )
        ]  # fmt: skip
        assert shown == sorted(shown)
        assert lease.holder(world.consul, "obs") is None

    def test_a_second_one_changes_nothing_and_asks_nothing(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        obsctl("deploy", "--yes")
        ran = obsctl("deploy")
        assert ran.code == 0
        assert "Nothing to change: 10 as desired." in ran.out
        assert "✓ alert path: works" in ran.out.splitlines()[-1]

    def test_an_alert_path_that_does_not_work_makes_it_fail(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        world.sink.received.clear()
        for command in (["deploy", "--yes"], ["deploy"], ["demo", "up", "--yes"], ["demo", "down", "--yes"]):
            ran = obsctl(*command, "--timeout", "0.1")
            assert ran.code == 1, command
            assert "everything runs, but the alert path is not complete after 0.1 s" in ran.err
            assert "alert-sink has received no heartbeat" in ran.err

    def test_a_job_that_stays_and_is_not_healthy_makes_it_fail(
        self, folder: Path, obsctl: Obsctl, world: World
    ) -> None:
        """Its own file and job are as desired, and its check fails since the last deploy."""
        obsctl("deploy", "--yes")
        allocation = world.nomad.job_allocations("obs-warden")[0]["ID"]
        world.consul.register("warden", instance=f"_nomad-task-{allocation}-x", status="critical")
        ran = obsctl("deploy", "--timeout", "0.1")
        assert ran.code == 1
        assert "not every component is healthy after 0.1 s:\n  obs-warden is unhealthy: " in ran.err

    def test_telemetry_is_looked_at_from_one_end_to_the_other(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        (folder / "obsctl.yaml").write_text(json.dumps({"components": {"grafana": {"enabled": False}}}))
        jaeger, logs = FakeJaeger(), FakeLogs()
        world.programs.put(jaeger=jaeger, logs=logs, otel_agent=FakeOtlp(jaeger, logs))
        assert "✓ telemetry path: works" in obsctl("deploy", "--yes").out
        world.programs.put(otel_agent=FakeOtlp(jaeger))
        ran = obsctl("deploy", "--timeout", "0.1")
        assert ran.code == 1
        assert "VictoriaLogs does not have the line" in ran.err

    def test_a_token_of_a_program_is_tried_before_the_program_gets_it(
        self, folder: Path, obsctl: Obsctl, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Prometheus would keep the targets that it knew, and look well."""
        configured = {"stack": "obs", "components": OTHERS_OFF, "consul": {"tokens": {"prometheus": "env:TOKEN"}}}
        (folder / "obsctl.yaml").write_text(json.dumps(configured))
        monkeypatch.setenv("TOKEN", SECRET)
        assert obsctl("deploy", "--yes").code == 0
        unknown, logins = World().consul, wire.logins(Config())
        unknown.failures["services"] = Forbidden("Consul answered 403: ACL not found", hint="")
        mixed = replace(logins, consul=lambda token: unknown if token == "another" else world.consul)
        monkeypatch.setattr(wire, "logins", lambda config: mixed)
        monkeypatch.setenv("TOKEN", "another")
        ran = obsctl("deploy", "--yes")
        assert ran.code == 1
        assert "nothing was changed\n  consul.tokens.prometheus: Consul does not know this token" in ran.err
        held = world.nomad.variable("nomad/jobs/obs-prometheus")
        assert held
        assert held.items["consul_token"] == SECRET

    def test_without_somebody_to_ask_it_changes_nothing(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        ran = obsctl("deploy")
        assert ran.code == 1
        assert ran.err.endswith("Error: this would change the cluster, and nobody can be asked\nHint: add --yes\n")
        assert world.nomad.jobs() == []

    @pytest.mark.parametrize(("answer", "code", "jobs"), [("y\n", 0, 4), ("n\n", 1, 0), ("\n", 1, 0)])
    def test_at_a_terminal_it_asks(
        self,
        folder: Path,
        obsctl: Obsctl,
        world: World,
        monkeypatch: pytest.MonkeyPatch,
        answer: str,
        code: int,
        jobs: int,
    ) -> None:
        monkeypatch.setattr("obsctl.ui.Ui.is_interactive", lambda self: True)
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        ran = obsctl("deploy")
        assert (ran.code, len(world.nomad.jobs())) == (code, jobs)
        assert "Apply this plan?" in ran.err

    def test_while_somebody_else_is_at_work_it_changes_nothing(
        self, folder: Path, obsctl: Obsctl, world: World
    ) -> None:
        with lease.hold(world.consul, "obs", "drill stop web"):
            ran = obsctl("deploy", "--yes")
        assert ran.code == 21
        assert "Error: stack obs is locked: drill stop web by" in ran.err
        assert world.nomad.jobs() == []

    def test_a_failure_gives_the_lock_back_and_exits_1(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        world.nomad.exits["obs-warden"] = "port 8098 is taken"
        ran = obsctl("deploy", "--yes")
        assert ran.code == 1
        assert "warden | port 8098 is taken" in ran.err
        assert "not changed, or not confirmed: obs-warden\n" in ran.err
        assert lease.holder(world.consul, "obs") is None

    def test_one_component_leaves_the_others_alone(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        ran = obsctl("deploy", "warden", "--yes")
        assert ran.code == 0
        assert "alert path" not in ran.out, "the others may not be there yet"
        assert [job["ID"] for job in world.nomad.jobs()] == ["obs-warden"]

    def test_as_json_stdout_is_one_document(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        ran = obsctl("deploy", "--yes", "--json")
        assert "obs-prometheus" in ran.document()["changes"]
        assert "→ obs-warden: create" in ran.err

    def test_no_secret_is_shown_however_it_ends(
        self, folder: Path, obsctl: Obsctl, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CHAT", SECRET)
        alerting = {"receivers": [{"name": "chat", "webhook": {"url": "env:CHAT"}}]}
        (folder / "obsctl.yaml").write_text(json.dumps({"alerting": alerting, "components": OTHERS_OFF}))
        world.nomad.exits["obs-alertmanager"] = "no"
        ends = [obsctl("-v", "deploy", "--yes"), obsctl("-v", "plan", "--json"), obsctl("render")]
        assert [ran.code for ran in ends] == [1, 0, 0]
        assert SECRET not in str(ends)
        assert world.nomad.variable("nomad/jobs/obs-alertmanager").items["chat_webhook_url"] == SECRET  # type: ignore[union-attr]


class TestLosses:
    """What plan and deploy say of data; the folder's alert path keeps Prometheus's in the allocation."""

    @pytest.fixture
    def ephemeral(self, folder: Path) -> Path:
        parts = {**OTHERS_OFF, "prometheus": {"storage": {"kind": "ephemeral"}}}
        (folder / "obsctl.yaml").write_text(json.dumps({"stack": "obs", "components": parts}))
        return folder

    @pytest.mark.parametrize("command", [["plan"], ["deploy", "--yes"]])
    def test_they_are_shown_beside_the_changes(
        self, ephemeral: Path, obsctl: Obsctl, world: World, command: list[str]
    ) -> None:
        words = "its data is lost when its allocation is replaced or rescheduled (storage: ephemeral)"
        assert f"  ! prometheus: {words}\n" in obsctl(*command).out
        [loss] = obsctl("--json", *command).document()["losses"]
        assert (loss["where"], loss["what"]) == ("prometheus", words)
        assert "storage.kind: dynamic" in loss["hint"]


class TestDoctor:
    def test_what_it_finds_and_how_it_exits(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        world.nomad.failures["leader"] = Unreachable("Nomad cannot be reached", hint="is it running?")
        ran = obsctl("doctor")
        assert ran.code == 1
        assert "✗ nomad: Nomad cannot be reached\n    is it running?\n" in ran.out
        assert "✓ consul: answers" in ran.out
        assert ran.out.splitlines()[-1].startswith("A deploy would not succeed: 1 error")

    @pytest.mark.parametrize("options", [[], ["--production"], ["--probe"]])
    def test_what_only_nodes_can_show_is_not_called_good(
        self, folder: Path, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch, options: list[str]
    ) -> None:
        acls = Finding.unseen(
            "nomad identities", "policies cannot be seen", "", settled_by="a token that may read ACLs"
        )
        tried = Finding.warning("tasks", "whether templates may read Consul is not proved", "", settled_by="--probe")
        monkeypatch.setattr("obsctl.doctor.checks.examine", lambda site, checks: [acls, acls, tried])
        ran = obsctl("doctor", *options)
        tasks = "" if "--probe" in options else ", tasks (settled by --probe)"
        assert (ran.code, ran.out.splitlines()[-1]) == (
            0,
            "Not proved that a deploy would succeed: 0 errors, 1 warning, 2 not seen. "
            f"Open: nomad identities (settled by a token that may read ACLs){tasks}.",
        )
        document = obsctl("--json", "doctor", *options).document()
        assert (document["healthy"], document["proved"]) == (True, False)

    @pytest.mark.parametrize(("options", "proved"), [([], False), (["--probe"], True)])
    def test_what_the_nodes_have_tried_is_not_open(
        self, folder: Path, obsctl: Obsctl, monkeypatch: pytest.MonkeyPatch, options: list[str], proved: bool
    ) -> None:
        keys = Finding.unseen("consul identities", "the keys cannot be seen from here", "", settled_by="--probe")
        monkeypatch.setattr("obsctl.doctor.checks.examine", lambda site, checks: [keys])
        assert obsctl("doctor", *options).out.splitlines()[-1].startswith("Nothing stands in the way") is proved
        assert obsctl("--json", "doctor", *options).document()["proved"] is proved

    def test_help_says_what_the_nodes_try_and_that_unproved_is_no_failure(self, obsctl: Obsctl) -> None:
        said = " ".join(obsctl("doctor", "--help").out.split())
        assert all(words in said for words in ("DNS", "Exit 0 also when it is not proved", "on the nodes where jobs"))

    def test_warnings_alone_do_not_fail(self, folder: Path, obsctl: Obsctl, world: World) -> None:
        parts = {**OTHERS_OFF, **{name: {"enabled": False} for name in ALERT_PATH}}
        (folder / "obsctl.yaml").write_text(json.dumps({"stack": "obs", "components": parts}))
        ran = obsctl("--json", "doctor")
        document = ran.document()
        assert (ran.code, document["healthy"], document["proved"], document["counts"]["error"]) == (0, True, True, 0)
        assert document["counts"]["warning"] >= 1
        assert {"severity", "where", "what", "hint", "settled_by"} == set(document["findings"][0])


@pytest.mark.parametrize("command", [["plan"], ["deploy", "--yes"], ["deploy", "--yes", "prometheus"]])
def test_what_the_cluster_cannot_do_is_refused_before_anything_changes(
    folder: Path, obsctl: Obsctl, world: World, command: list[str]
) -> None:
    world.nomad.agent_version = lambda: "1.9.7"  # type: ignore[method-assign]
    dynamic = {"prometheus": {"storage": {"kind": "dynamic"}}, "warden": {"driver": "raw_exec"}}
    (folder / "obsctl.yaml").write_text(json.dumps({"components": {**OTHERS_OFF, **dynamic}}))
    ran = obsctl(*command)
    assert ran.code == 1
    assert (
        "components.prometheus.storage.kind: dynamic host volumes need Nomad 1.10 or newer, and this is 1.9.7"
        in ran.err
    )
    assert "storage.kind: host" in ran.err.splitlines()[-1]
    assert (world.registered(), world.nomad.volumes(), world.consul.entries("")) == ([], [], [])


def test_servers_that_do_not_tell_their_version_are_taken_as_they_are(
    folder: Path, obsctl: Obsctl, world: World
) -> None:
    world.nomad.failures["agent_version"] = world.consul.failures["agent_version"] = Forbidden("no", hint="")
    assert obsctl("plan").code == 0


def test_a_server_newer_than_all_that_was_tried_is_a_warning(folder: Path, obsctl: Obsctl, world: World) -> None:
    world.consul.agent_version = lambda: "9.0.0"  # type: ignore[method-assign]
    ran = obsctl("plan")
    assert ran.code == 0
    assert "consul: is 9.0.0, and obsctl was tested up to version 1.22" in ran.err


def test_validate_refuses_by_the_version_that_the_file_gives(folder: Path, obsctl: Obsctl) -> None:
    config = {"nomad": {"version": "1.9"}, "components": {**OTHERS_OFF, "prometheus": {"storage": {"kind": "dynamic"}}}}
    (folder / "obsctl.yaml").write_text(json.dumps(config))
    ran = obsctl("validate")
    assert ran.code == 1
    assert "components.prometheus.storage.kind: dynamic host volumes need Nomad 1.10 or newer" in ran.err


@pytest.mark.parametrize("name", ["..", "a b\n  + create  job  obs-web", "a//b", "\x07"])
def test_a_key_that_no_path_can_hold_is_deleted_and_named_on_one_line(
    folder: Path, obsctl: Obsctl, world: World, name: str
) -> None:
    obsctl("deploy", "--yes")
    for place in ("rules", "config", "dashboards"):
        world.consul.forge(f"obsctl/obs/{place}/{name}", b"x")
    planned = obsctl("plan")
    stops = [line for line in planned.out.splitlines() if " content " in line]
    assert len(stops) == 3
    assert all(line.startswith("  - stop   content ") for line in stops)
    assert not [line for line in planned.out.splitlines() if line.startswith("  + ")]
    ran = obsctl("deploy", "--yes")
    assert ran.code == 0, ran.err
    assert not [pair.key for pair in world.consul.entries("obsctl/obs/") if pair.key.endswith(name)]
