"""Stand-ins for the servers: small state machines in memory, behind the same protocols as the real clients.

The contract suite holds them to what the real servers do.
"""

from tests.fakes.clock import FakeClock
from tests.fakes.consul import FakeConsul
from tests.fakes.nomad import FakeNomad
from tests.fakes.registry import FakeRegistry
from tests.fakes.stack import FakeAlertmanager, FakePrograms, FakePrometheus, FakeSink, StackPrometheus
from tests.fakes.telemetry import FakeJaeger, FakeLogs, FakeOtlp

__all__ = [
    "FakeAlertmanager", "FakeClock", "FakeConsul", "FakeJaeger", "FakeLogs", "FakeNomad", "FakeOtlp",
    "FakePrograms", "FakePrometheus", "FakeRegistry", "FakeSink", "StackPrometheus",
]  # fmt: skip
