"""Deliveries to alert-sink, as Alertmanager sends them."""

import requests

SECRET = "the-secret"


def webhook(name, padding=0):
    alert = {"status": "firing", "labels": {"alertname": name}, "annotations": {"summary": "x" * padding}}
    return {"version": "4", "status": "firing", "receiver": "alert-sink", "alerts": [alert]}


def deliver(url, payload, session=requests):
    return session.post(f"{url}/webhook", json=payload, auth=("alertmanager", SECRET), timeout=10)


def received(sink):
    found = sink.get("/api/notifications").json()["notifications"]
    return [one["payload"]["alerts"][0]["labels"]["alertname"] for one in found]
