import json
import os
from contextlib import ExitStack

import pytest

from obsctl.services import notifications
from obsctl.services.notifications import KEPT_SECONDS, BadWebhook, NotificationLog, make_delivery, parse_webhook
from tests.full_disk import full_disk


@pytest.fixture
def open_log(tmp_path):
    """Opens a log in the test's folder; all are closed when the test ends."""
    with ExitStack() as logs:

        def open_one(folder=tmp_path, **options):
            log = NotificationLog(folder, **options)
            logs.callback(log.close)
            return log

        yield open_one


def delivery(name, received_at, **labels):
    alert = {"status": "firing", "labels": {"alertname": name, **labels}}
    return make_delivery({"status": "firing", "alerts": [alert]}, received_at)


def names(found):
    return [name for one in found for name in one.alertnames]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 15_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"status": "odd", "alerts": []}', "status must be"),
        (b'{"status": ["firing"], "alerts": []}', "status must be"),
        (b'{"status": "firing"}', "alerts must be a list"),
        (b'{"status": "firing", "alerts": {}}', "alerts must be a list"),
        (b'{"status": "firing", "alerts": [7]}', "an object with labels"),
        (b'{"status": "firing", "alerts": [{"labels": []}]}', "an object with labels"),
        (b'{"status": "firing", "alerts": [{"labels": {}, "annotations": null}]}', "annotations"),
        (b'{"status": "firing", "alerts": [], "x": ' + b"[" * 20 + b"]" * 20 + b"}", "more than 20 deep"),
        (b'{"status": "firing", "alerts": [], "x": [' + b"{}," * 20_000 + b"{}]}", "more than 20000 objects"),
    ],
)
def test_what_is_no_webhook_is_refused_with_the_reason(body, reason):
    with pytest.raises(BadWebhook, match=reason):
        parse_webhook(body)


@pytest.mark.parametrize("value", ["NaN", "1e999", '"\\ud800"'])
def test_values_that_other_readers_would_choke_on_are_refused(value):
    payload = parse_webhook(b'{"status": "firing", "alerts": [], "x": %s}' % value.encode())
    with pytest.raises(BadWebhook, match="not JSON"):
        make_delivery(payload, 1.0)


def test_stored_notifications_come_back_after_a_restart_word_for_word(open_log):
    log = open_log()
    sent = delivery("Überlauf\n\u2028", 1.5, path='C:\\"quoted"')
    log.append(sent)
    log.close()
    again = open_log()
    assert [again.line(one) for one in again.find()] == [sent.line]


def test_find_filters_by_time_and_by_any_alert_of_the_delivery(open_log):
    log = open_log()
    both = {"status": "firing", "alerts": [{"labels": {"alertname": "A"}}, {"labels": {"alertname": "B"}}]}
    for one in (delivery("A", 2.0), delivery("B", 1.0), make_delivery(both, 3.0)):
        log.append(one)
    assert [one.received_at for one in log.find()] == [1.0, 2.0, 3.0]
    assert [one.received_at for one in log.find(since=2.0)] == [2.0, 3.0]
    assert [one.received_at for one in log.find(alertname="B")] == [1.0, 3.0]
    assert log.find(alertname="C") == []


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_a_torn_last_line_is_skipped_and_the_next_one_does_not_stick_to_it(open_log, tmp_path, cut):
    log = open_log()
    log.append(delivery("A", 1.0))
    log.append(delivery("Torn", 2.0))
    log.close()
    file = tmp_path / "notifications.jsonl"
    file.write_bytes(file.read_bytes()[: -1 - cut])

    reopened = open_log()
    reopened.append(delivery("B", 3.0))
    reopened.close()

    again = open_log()
    assert names(again.find()) == ["A", "B"]
    assert (reopened.skipped_lines, again.skipped_lines) == (1, 1)


def test_a_line_that_lacks_only_its_newline_is_kept(open_log, tmp_path):
    log = open_log()
    log.append(delivery("A", 1.0))
    log.close()
    file = tmp_path / "notifications.jsonl"
    file.write_bytes(file.read_bytes()[:-1])
    reopened = open_log()
    reopened.append(delivery("B", 2.0))
    assert names(open_log().find()) == ["A", "B"]


def stored(received_at="1", more=""):
    return f'{{"received_at": {received_at}, "payload": {{"status": "firing", "alerts": []{more}}}}}'.encode()


@pytest.mark.parametrize(
    "line",
    [
        *(b"7", b"{}", b'{"received_at": "x", "payload": {}}', b"\x00" * 64),
        *(stored("1e999"), stored("-1"), stored("1e300"), stored("[]")),
        *(stored(more=f', "x": {"[" * 5000}{"]" * 5000}'), stored(more=f', "x": "{"y" * 3_000_000}"')),
    ],
    ids=lambda line: line[:40],
)
def test_lines_that_are_no_notification_are_skipped(open_log, tmp_path, line):
    (tmp_path / "notifications.jsonl").write_bytes(line + b"\n")
    log = open_log()
    assert log.find() == []
    assert log.skipped_lines > 0


def test_disk_and_memory_are_bounded_and_the_newest_stay(open_log, tmp_path):
    log = open_log(max_file_bytes=1000)
    for number in range(100):
        log.append(delivery(f"A{number:03}", float(number) * KEPT_SECONDS))
    log.close()
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert set(sizes) == {"notifications.jsonl", "notifications.1.jsonl"}
    assert max(sizes.values()) <= 1000
    kept = names(log.find())
    assert kept[-1] == "A099"
    assert 10 < len(kept) < 30
    reloaded = names(open_log(max_file_bytes=1000).find())
    assert reloaded == kept[-len(reloaded) :]


def test_what_is_younger_than_an_hour_is_not_given_up_for_what_comes_in(open_log):
    log = open_log(max_file_bytes=1000)
    log.append(delivery("Evidence", 1.0))
    for number in range(35):
        log.append(delivery("Noise", 2.0 + number))
    assert log.find(alertname="Evidence")
    log.close()
    assert open_log(max_file_bytes=1000).find(alertname="Evidence")


def test_a_flood_has_four_times_the_place_and_no_more(open_log, tmp_path):
    log = open_log(max_file_bytes=1000)
    for number in range(500):
        log.append(delivery("Noise", float(number)))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 8000
    assert len(log.find()) > 35
    assert all(log.line(one) for one in log.find())


def test_what_was_found_and_then_given_up_has_no_line(open_log):
    log = open_log(max_file_bytes=1000)
    log.append(delivery("A", 0.0))
    [found] = log.find()
    for number in range(1, 50):
        log.append(delivery("B", number * 2 * KEPT_SECONDS))
    assert log.line(found) is None


def test_a_name_of_any_length_is_found(open_log):
    log = open_log()
    log.append(delivery("N" * 5000, 1.0))
    assert len(log.find(alertname="N" * 5000)) == 1
    assert len(log.find()[0].alertnames[0]) == 200


def test_files_and_folder_are_their_owners_alone_those_of_an_older_version_too(open_log, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    (folder / "notifications.jsonl").write_text("")
    (folder / "notifications.jsonl").chmod(0o644)
    open_log(folder, max_file_bytes=100).append(delivery("A", 1.0))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "data"
    victim.write_text("precious")
    folder.mkdir()
    (folder / "notifications.jsonl").symlink_to(victim)
    with pytest.raises(OSError, match="it is a link"):
        NotificationLog(folder)
    assert victim.read_text() == "precious"


def test_a_pipe_in_the_place_of_a_file_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "notifications.jsonl")
    with pytest.raises(OSError, match="no regular file"):
        NotificationLog(tmp_path)


def test_memory_keeps_at_most_so_many_deliveries(open_log, tmp_path, monkeypatch):
    monkeypatch.setattr(notifications, "MAX_KEPT", 3)
    log = open_log()
    for number in range(5):
        log.append(delivery(f"A{number}", float(number)))
    assert names(log.find()) == ["A2", "A3", "A4"]


def test_a_delivery_that_cannot_be_stored_is_not_kept_and_the_log_recovers(open_log, tmp_path):
    log = open_log()
    log.append(delivery("A", 1.0))
    with full_disk(), pytest.raises(OSError, match="File too large"):
        log.append(delivery("Lost", 2.0))
    log.append(delivery("B", 3.0))
    assert names(log.find()) == ["A", "B"]
    lines = (tmp_path / "notifications.jsonl").read_text().split()
    assert [json.loads(line)["received_at"] for line in lines] == [1.0, 3.0]
    assert [log.line(one).decode() for one in log.find()] == lines


def test_the_data_folder_is_made(open_log, tmp_path):
    open_log(tmp_path / "a" / "b").append(delivery("A", 1.0))
    assert (tmp_path / "a" / "b" / "notifications.jsonl").exists()
