"""Scales the group of the service to zero, as an autoscaler that runs wild would. The job stays, without instances."""

from __future__ import annotations

from obsctl.drills.faults.scale_down import ScaleDown


class ScaleZero(ScaleDown):
    def count(self, before: int, service: str) -> int:
        return 0


FAULT = ScaleZero()
