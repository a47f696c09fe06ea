"""obsctl drill: what it asks, says and prints, and how it exits. The stack behind it is one of fakes."""

import json
import os
import signal

import pytest
from click.testing import CliRunner

from obsctl.cli import drill as cli
from obsctl.cli import wire
from obsctl.cli.app import App
from obsctl.drills import recipes
from obsctl.drills import world as drill_world
from obsctl.drills.world import World
from obsctl.errors import Interrupted, ObsctlError
from obsctl.lease import Locked
from obsctl.names import lock_key
from obsctl.ui import Ui
from tests.drill_world import JOB, JOB_ID, SERVICE, STACK, DrillWorld


class Terminal(Ui):
    """Somebody sits there."""

    def is_interactive(self):
        return True


class Stack:
    """The command, on a world of fakes."""

    def __init__(self, folder, monkeypatch):
        self.world = DrillWorld(folder)
        self.journals = folder / "journals"
        self.config = folder / "obsctl.yaml"
        self.config.write_text(f"stack: {STACK}\ndrills: {{journal_dir: {self.journals}}}\n")
        seen = self.world.world
        monkeypatch.setattr(wire, "clients", lambda config: wire.Clients(seen.nomad, seen.consul, seen.programs))
        monkeypatch.setattr(drill_world, "World", self.on_our_clock)

    def on_our_clock(self, *, emit, **servers):
        def emit_to_both(event):
            self.world.emit(event)
            emit(event)

        return World(**{**servers, "emit": emit_to_both, "clock": self.world.clock})

    def run(self, *arguments, ui=None, answer=None):
        app = App(ui=ui or Ui(), config_path=self.config)
        return CliRunner().invoke(cli.drill, arguments, obj=app, standalone_mode=False, input=answer)

    def stop(self, *options, **more):
        return self.run("stop", SERVICE, *options, **more)

    def journal_files(self):
        return sorted(self.journals.glob("*.jsonl"))


@pytest.fixture
def stack(tmp_path, monkeypatch):
    return Stack(tmp_path, monkeypatch)


def assert_untouched(stack):
    assert stack.world.versions() == 0
    assert stack.world.entries() == []
    assert stack.journal_files() == []
    assert not stack.world.consul.called("acquire")


def test_a_drill_that_is_proven_exits_with_0(stack):
    result = stack.stop("--yes")
    assert result.exception is None
    assert result.return_value == 0
    assert "PROVEN: delivered" in result.stdout
    assert f"Report: obsctl drill report {stack.journal_files()[0].stem}" in result.stdout
    assert stack.world.runs()
    assert stack.world.consul.get(lock_key(STACK)) is None


def test_the_forecast_is_shown_before_anybody_is_asked(stack):
    result = stack.stop(ui=Terminal(), answer="n\n")
    assert "delivered" in result.stdout.partition("Stop the job of response?")[0]
    assert isinstance(result.exception, ObsctlError)
    assert "nothing was touched" in result.exception.message
    assert_untouched(stack)


def test_y_starts_the_drill(stack):
    assert stack.stop(ui=Terminal(), answer="y\n").return_value == 0


def test_without_yes_and_without_anybody_to_ask_nothing_happens(stack):
    result = stack.stop()
    assert isinstance(result.exception, ObsctlError)
    assert "nobody can be asked" in result.exception.message
    assert result.exception.hint == "add --yes"
    assert_untouched(stack)


def test_a_dry_run_touches_nothing(stack):
    result = stack.stop("--dry-run")
    assert result.return_value == 0
    assert "steady: the drill could start" in result.stdout
    assert_untouched(stack)


def test_a_dry_run_of_a_stack_that_is_not_steady_exits_with_20_and_says_why(stack):
    stack.world.prometheus.alertmanager_urls = []
    result = stack.stop("--dry-run")
    assert result.return_value == 20
    assert "0 of 1 active Alertmanagers" in result.output
    assert_untouched(stack)


def test_it_waits_until_all_is_steady_if_it_is_told_to(stack):
    world = stack.world
    world.nomad.stop_job(JOB_ID)
    world.clock.after(40, lambda: world.nomad.register_job(JOB))
    result = stack.stop("--yes", "--wait", "2m")
    assert result.return_value == 0
    assert "not steady yet: target: there is no service response in Consul" in result.stdout
    assert "PROVEN" in result.stdout


def test_it_waits_for_the_lock_too(stack):
    session = stack.world.consul.create_session("deploy", ttl=10)
    stack.world.consul.acquire(lock_key(STACK), b"{}", session)
    stack.world.clock.after(30, lambda: stack.world.consul.expire(session))
    assert stack.stop("--yes", "--wait", "1m").return_value == 0


def test_what_is_not_steady_when_it_has_waited_is_refused_as_ever(stack):
    stack.world.sink.deliver = lambda *_: None
    stack.world.prometheus.alertmanager_urls = []
    began = stack.world.clock.now()
    assert stack.stop("--yes", "--wait", "20s").return_value == 20
    assert 20 <= stack.world.clock.now() - began < 25


def test_a_wait_that_is_interrupted_leaves_nothing(stack):
    def interrupt(step, name):
        if name == "say.waiting.note":
            raise KeyboardInterrupt

    stack.world.on_step = interrupt
    stack.world.prometheus.alertmanager_urls = []
    result = stack.stop("--yes", "--wait", "2m")
    assert result.exit_code != 0
    assert_untouched(stack)


def test_json_is_one_document_with_verdict_and_journal(stack):
    result = stack.stop("--yes", ui=Ui(as_json=True))
    document = json.loads(result.stdout)
    assert document["schema"] == "obsctl/drill/v6"
    assert document["verdict"]["outcome"] == "PROVEN"
    assert document["journal"][-1]["kind"] == "finished"
    assert document["id"] == stack.journal_files()[0].stem
    assert "delivered" in result.stderr


def test_json_of_a_dry_run_is_one_document_too(stack):
    document = json.loads(stack.stop("--dry-run", ui=Ui(as_json=True)).stdout)
    assert document["schema"] == "obsctl/drill-forecast/v6"
    assert document["forecasts"]["ServiceDown response"]["bands"][0]["stage"] == "pending"
    assert document["findings"] == []


def missed(world):
    world.alerts.rule = lambda is_up: False


def undelivered(world):
    world.alerts.delivers = lambda status: False


def unresolved(world):
    world.alerts.delivers = lambda status: status == "firing"


def late(world):
    world.alerts.delay = 20


def not_steady(world):
    world.sink.received.clear()


def not_injected(world):
    world.nomad.stop_job = lambda job_id: ""


def no_warden(world):
    world.warden_lives = False


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (missed, 10),
        (undelivered, 11),
        (unresolved, 12),
        (late, 13),
        (not_steady, 20),
        (no_warden, 20),
        (not_injected, 22),
    ],
)
def test_each_verdict_has_its_exit_code(stack, spoil, code):
    spoil(stack.world)
    assert stack.stop("--yes").return_value == code
    assert stack.world.runs()
    assert stack.world.entries() == []


def test_a_locked_stack_is_21_and_names_the_holder(stack):
    holder = {"command": "deploy", "user": "ada", "host": "h", "pid": 7, "since": "now"}
    session = stack.world.consul.create_session("deploy", ttl=10)
    stack.world.consul.acquire(lock_key(STACK), json.dumps(holder).encode(), session)
    result = stack.stop("--yes")
    assert isinstance(result.exception, Locked)
    assert result.exception.exit_code == 21
    assert "deploy by ada on h" in result.exception.message
    assert stack.world.versions() == 0
    assert stack.journal_files() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_drill_and_puts_everything_back(stack, number):
    def interrupt(step, name):
        if name == "say.pending.ok":
            os.kill(os.getpid(), number)

    stack.world.on_step = interrupt
    before = signal.getsignal(number)
    result = stack.stop("--yes")
    assert result.return_value == 30
    assert "ABORTED: interrupted; everything was put back" in result.stdout
    assert number.name in result.stdout
    assert stack.world.runs()
    assert stack.world.entries() == []
    assert signal.getsignal(number) is before


def test_however_often_it_comes_the_revert_goes_on(stack):
    def interrupt(step, name):
        if name in ("say.pending.ok", "say.reverting.start", "nomad.register_job", "consul.delete", "say.reverted.ok"):
            os.kill(os.getpid(), signal.SIGINT)

    stack.world.on_step = interrupt
    result = stack.stop("--yes")
    assert result.return_value == 30
    assert result.stdout.count("still putting things back") == 5  # the recipe and the lock are deleted
    assert stack.world.runs()
    assert stack.world.entries() == []


def test_a_signal_before_anything_was_armed_just_ends_it(stack):
    def interrupt(step, name):
        if name == "say.steady.ok":
            os.kill(os.getpid(), signal.SIGINT)

    stack.world.on_step = interrupt
    result = stack.stop("--yes")
    assert isinstance(result.exception, Interrupted)
    assert result.exception.exit_code == 130
    assert (stack.world.versions(), stack.world.entries()) == (0, [])
    assert "if it has touched anything" in result.stdout
    report = stack.run("report", "last")
    assert "ABORTED: interrupted; nothing was touched" in report.stdout


def test_ctrl_c_at_the_question_is_an_ordinary_ctrl_c(stack, monkeypatch):
    seen = []
    monkeypatch.setattr(cli.click, "confirm", lambda *_, **__: seen.append(signal.getsignal(signal.SIGINT)))
    stack.stop(ui=Terminal())
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_a_terminal_that_is_gone_keeps_nothing_from_being_put_back(stack, monkeypatch):
    def hang_up(step, name):
        if name == "say.pending.ok":
            monkeypatch.setattr(Ui, "event", broken)
            monkeypatch.setattr(Ui, "say", broken)
        if name == "prometheus.alerts" and Ui.say is broken:
            os.kill(os.getpid(), signal.SIGHUP)

    def broken(*_, **__):
        raise OSError(5, "Input/output error")

    stack.world.on_step = hang_up
    assert stack.stop("--yes").return_value == 30
    assert stack.world.runs()
    assert stack.world.entries() == []


def test_a_journal_that_cannot_be_written_stops_the_drill_before_it_begins(stack):
    stack.journals.write_text("no folder")
    result = stack.stop("--yes")
    assert isinstance(result.exception, ObsctlError)
    assert "cannot be written" in result.exception.message
    assert (stack.world.versions(), stack.world.entries()) == (0, [])
    assert stack.world.consul.get(lock_key(STACK)) is None


@pytest.mark.parametrize("options", [("--hold", "-1"), ("--deadline", "5"), ("--hold", "soon")])
def test_times_that_make_no_sense_are_refused(stack, options):
    assert stack.stop(*options).exception.exit_code == 2
    assert_untouched(stack)


def test_a_report_is_made_anew_from_the_journal(stack):
    stack.stop("--yes")
    result = stack.run("report", "last")
    assert result.stdout.splitlines()[-1].startswith("PROVEN: delivered")
    document = json.loads(stack.run("report", "stop-response", ui=Ui(as_json=True)).stdout)
    assert (document["schema"], document["verdict"]["outcome"]) == ("obsctl/drill/v6", "PROVEN")


@pytest.mark.parametrize(
    ("form", "start"), [("text", "Drill "), ("html", "<!doctype html>"), ("junit", "<testsuites "), ("json", "{")]
)
def test_a_report_has_four_forms_each_also_as_a_file(stack, tmp_path, form, start):
    stack.stop("--yes")
    shown = stack.run("report", "last", "--format", form)
    assert shown.stdout.startswith(start)
    file = tmp_path / "report"
    written = stack.run("report", "last", "--format", form, "--out", str(file))
    assert written.stdout == f"{file} has the report\n"
    assert file.read_text() == shown.stdout
    as_json = json.loads(stack.run("report", "last", "--format", form, "--out", str(file), ui=Ui(as_json=True)).stdout)
    assert (as_json["schema"], as_json["format"], as_json["file"]) == ("obsctl/drill-report/v1", form, str(file))


def test_json_and_another_form_on_one_stdout_are_refused(stack):
    stack.stop("--yes")
    result = stack.run("report", "last", "--format", "html", ui=Ui(as_json=True))
    assert "--json and --format html are two forms" in str(result.exception)


def test_a_report_replaces_no_device(stack):
    stack.stop("--yes")
    result = stack.run("report", "last", "--out", "/dev/null")
    assert result.exception.message == "/dev/null is no regular file"


def dead_drill(stack, **changes):
    """A drill that died after its fault."""
    stack.world.warden_lives = False
    return stack.world.write(**changes)


def test_recover_puts_back_what_a_dead_drill_left(stack):
    recipe = dead_drill(stack)
    stack.world.nomad.stop_job(JOB_ID)
    result = stack.run("recover")
    assert (
        f"{recipe.drill}: response is back (started version 1, which was stopped; by obsctl drill recover)"
        in result.stdout
    )
    assert stack.world.runs()
    assert stack.world.entries() == []


def test_a_service_that_an_operator_stopped_is_not_said_to_be_back(stack):
    dead_drill(stack)
    for _ in range(2):
        stack.world.nomad.stop_job(JOB_ID)
    result = stack.run("recover")
    assert "response was left as it is" in result.stdout
    assert not stack.world.runs()


def test_a_new_drill_refuses_until_the_dead_one_was_recovered(stack):
    dead_drill(stack)
    stack.world.start_warden()
    assert stack.stop("--yes").return_value == 20
    assert stack.run("recover").exception is None
    assert stack.stop("--yes").return_value == 0


def test_recover_with_nothing_to_do_says_so(stack):
    assert "Nothing to recover" in stack.run("recover").stdout
    assert json.loads(stack.run("recover", ui=Ui(as_json=True)).stdout)["recovered"] == []


def test_a_drill_that_cannot_be_recovered_keeps_no_other_from_being_recovered(stack):
    dead_drill(stack)
    stack.world.write(drill="0-newer", fault="flood")
    stack.world.nomad.stop_job(JOB_ID)
    result = stack.run("recover")
    assert isinstance(result.exception, ObsctlError)
    assert "a drill is not finished: obsctl/obs/drills/0-newer: this obsctl does not know" in result.exception.message
    assert "consul kv delete obsctl/obs/drills/0-newer" in result.exception.hint
    assert "response is back" in result.stdout
    assert stack.world.runs()
    assert len(stack.world.entries()) == 1


def test_a_key_that_obsctl_did_not_write_is_named_and_left_and_keeps_no_drill_from_starting(stack):
    key = recipes.key(STACK, "0-forged")
    stack.world.consul.put(key, b"[" * 100_000)
    result = stack.run("recover")
    assert result.exception is None
    assert "Nothing to recover" in result.stdout
    assert f"to remove it: consul kv delete {key}" in result.stdout
    assert json.loads(stack.run("recover", ui=Ui(as_json=True)).stdout)["left"][0]["key"] == key
    assert stack.stop("--yes").return_value == 0
    assert [entry.key for entry in stack.world.entries()] == [key]


def test_recover_does_not_run_beside_a_drill(stack):
    session = stack.world.consul.create_session("drill", ttl=10)
    stack.world.consul.acquire(lock_key(STACK), b"{}", session)
    assert isinstance(stack.run("recover").exception, Locked)


class TestSelftest:
    def test_it_shows_what_was_broken_and_what_came_of_it_and_exits_with_0(self, stack):
        result = stack.run("selftest", SERVICE, "--yes")
        assert result.return_value == 0
        lines = result.stdout.splitlines()
        assert next(line for line in lines if line.startswith("a silence covers the alert")).split()[5:7] == [
            "NOT_STEADY", "20",
        ]  # fmt: skip
        assert lines[-1] == "All 7 ended in the verdict that names what was broken."

    def test_another_verdict_is_told_and_exits_with_1(self, stack):
        stack.world.alertmanager.silence = lambda labels, until, comment: "of nothing"
        result = stack.run("selftest", SERVICE, "--yes")
        assert result.return_value == 1
        assert "WRONG: a silence covers the alert should be NOT_STEADY" in result.stdout

    def test_it_asks_first(self, stack):
        result = stack.run("selftest", SERVICE, ui=Terminal(), answer="n\n")
        assert "Stop the job of response up to 6 times and silence its alert?" in result.stderr
        assert_untouched(stack)


def test_an_experiment_of_ones_own_runs_from_its_file(stack, tmp_path):
    file = tmp_path / "one.yaml"
    file.write_text(f"fault: stop\nservice: {SERVICE}\ntitle: Our own\nhold: 3s\n")
    result = stack.run("run", str(file), "--yes")
    assert result.return_value == 0
    assert "Our own" in result.output
    assert any(event.subject == "held" for event in stack.world.events)


def test_a_budget_that_is_missed_is_late(stack, tmp_path):
    file = tmp_path / "one.yaml"
    alert = f"{{labels: {{alertname: ServiceDown, service: {SERVICE}}}, within: 11500ms}}"
    file.write_text(f"fault: stop\nservice: {SERVICE}\nexpect: [{alert}]\n")
    result = stack.run("run", str(file), "--yes")
    assert result.return_value == 13
    assert "and it may take 11.5 s" in result.output


def test_a_budget_that_cannot_be_kept_is_refused(stack, tmp_path):
    file = tmp_path / "one.yaml"
    alert = f"{{labels: {{alertname: ServiceDown, service: {SERVICE}}}, within: 2s}}"
    file.write_text(f"fault: stop\nservice: {SERVICE}\nexpect: [{alert}]\n")
    result = stack.run("run", str(file), "--dry-run")
    assert result.return_value == 20
    assert "it can never be delivered within 2 s" in result.output


def test_the_faults_are_listed_and_explained(stack):
    assert "scale-zero" in stack.run("list").stdout
    text = stack.run("explain", "freeze").stdout
    assert "must come:\n  alertname=ServiceDown, service=SERVICE" in text
    assert "--instances AMOUNT" in text
    refused = stack.run("explain", "thaw").exception
    assert isinstance(refused, ObsctlError)
    assert "there are freeze" in refused.hint
