"""What becomes of log lines and traces on their way, and a store for lines that is there already."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from obsctl.config.durations import Positive, within
from obsctl.config.patterns import Pattern
from obsctl.config.secrets import SecretRef
from obsctl.config.shapes import Clash, Misfit, Shape, Strict

OtlpUrl = Annotated[
    str,
    Shape(
        r"https?://[^\s\"'\\$%#?@/]+(/[^\s\"'\\$%#?@]*)?",
        'must be like "https://logs.example.org/otlp": http or https, without a user; put secrets into headers',
    ),
]
HeaderName = Annotated[str, Shape(r"[A-Za-z0-9-]+", "a header's name has only letters, digits and dashes")]
# Grafana would take what follows a dollar sign for a variable of its environment.
DatasourceUid = Annotated[str, Shape(r"[^\s\"'\\$]+", "must be one word without spaces, quotes, backslashes or $")]


class Logs(Strict):
    """What becomes of log lines on their way."""

    endpoint: OtlpUrl | None = Field(default=None, examples=["https://loki.example.org/otlp"])
    """A log store that is there already, instead of components.victorialogs: gateways send lines to `/v1/logs` below
    this address, by OTLP over HTTP."""
    headers: dict[HeaderName, SecretRef] = Field(default={}, examples=[{"X-Scope-OrgID": "env:LOGS_TENANT"}])
    """Headers of these requests, such as a tenant or a token; the values as references."""
    grafana_datasource: DatasourceUid | None = Field(default=None, examples=["loki"])
    """The uid of the datasource that reads that store in Grafana, for the way from a trace to its lines."""
    redact: tuple[Pattern, ...] = Field(default=(), examples=[[r"password=\S+"]])
    """Patterns (RE2) of what no line may hold: each agent puts *** in its place before a line leaves the node."""

    def secrets(self) -> dict[str, SecretRef]:
        """Item of the gateways' Nomad Variable -> reference, of each header in the order of their names."""
        return {f"logs_header_{number}": self.headers[name] for number, name in enumerate(sorted(self.headers))}

    @model_validator(mode="after")
    def _is_of_another_store(self) -> Logs:
        present = [name for name in ("headers", "grafana_datasource") if getattr(self, name)]
        if present and self.endpoint is None:
            raise Clash(
                *(Misfit((name,), "belongs to the log store at logs.endpoint, which is not set") for name in present)
            )
        return self


class Sampling(Strict):
    """Which traces Jaeger gets. Each trace is judged as a whole; one reason to keep it is enough."""

    keep: Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=100)] = 10.0
    """Percent of the traces that nothing else keeps."""
    errors: bool = True
    """Keeps every trace in which a span has failed."""
    slower_than: Positive | None = Field(default=None, examples=["1s"])
    """Keeps every trace that took at least this long."""
    wait: Annotated[Positive, within(1.0, 60.0)] = 10.0
    """How long a trace is waited for from its first span on, until it is judged; 1s to 1m."""
