"""The demo: two small services and their traffic."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from obsctl import names
from obsctl.config.components import NodePort, OwnProgram, Row
from obsctl.config.shapes import Strict


class ResponseService(OwnProgram):
    """Answers with a phrase from Consul KV."""

    row: ClassVar[Row] = Row(
        name=names.RESPONSE_SERVICE,
        shows="demo: gives a phrase",
        page="/phrase",
        needs=(names.OTEL_AGENT,),
        demo=True,
        down_alert=names.SERVICE_DOWN,
        consul_program="demo",
    )
    port: NodePort = 6060


class HelloService(OwnProgram):
    """Answers GET /hello by asking response-service."""

    row: ClassVar[Row] = Row(
        name=names.HELLO_SERVICE,
        shows="demo: asks response-service for a phrase",
        page="/hello",
        needs=(names.RESPONSE_SERVICE,),
        demo=True,
        down_alert=names.SERVICE_DOWN,
        consul_program="demo",
    )
    port: NodePort = 5050


class Traffic(OwnProgram):
    """Calls hello-service all the time."""

    row: ClassVar[Row] = Row(
        name=names.TRAFFIC,
        shows="demo: calls hello-service",
        page="/health",
        needs=(names.HELLO_SERVICE,),
        demo=True,
        down_alert="",
        consul_program="demo",
    )
    port: NodePort = 5051


class Demo(Strict):
    """Two small services and their traffic, to try obsctl on."""

    enabled: bool = False
    """Off unless asked for."""
    fixed: bool = False
    """Runs response-service without the bug that docs/tutorial-find-the-bug.md has you find."""
    requests_per_second: Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0, le=100)] = 4.0
    """How fast traffic calls hello-service."""
    response_service: ResponseService = Field(default=ResponseService(), alias="response-service")
    hello_service: HelloService = Field(default=HelloService(), alias="hello-service")
    traffic: Traffic = Traffic()
