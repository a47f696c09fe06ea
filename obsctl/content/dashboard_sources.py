"""Which datasource a query of a dashboard asks, as far as the dashboard says it.

How Grafana finds it: public/app/features/plugins/datasource_srv.ts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from obsctl.config.catalog import Grafana
from obsctl.content.dashboard_variables import variable_of, variables_in
from obsctl.content.dashboards import Dashboard, objects, place_of
from obsctl.model import Finding, Severity

VICTORIALOGS = Grafana.plugin
OF_THE_STACK = {
    "prometheus": "prometheus",
    "victorialogs": VICTORIALOGS,
    "jaeger": "jaeger",
    "alertmanager": "alertmanager",
}
"""uid -> type."""
_NAMES = {
    "Prometheus": "prometheus",
    "VictoriaLogs": "victorialogs",
    "Jaeger": "jaeger",
    "Alertmanager": "alertmanager",
}
_DEFAULT = "prometheus"
_OF_GRAFANA = {"-- Grafana --", "grafana", "-- Dashboard --", "-- Mixed --", "__expr__", "-100"}
"""Its own: events, another panel's answer, several datasources at once, calculations (now and in older exports)."""
_AS_A_VARIABLE = 'a variable of type datasource fits every Grafana: {"type": "prometheus", "uid": "${datasource}"}'


@dataclass(frozen=True, slots=True)
class Source:
    """name: its uid or its name, as written; "" for the one that Grafana takes by itself. type: of its plugin, "" when
    the dashboard does not say it."""

    name: str
    type: str

    @property
    def is_of_grafana(self) -> bool:
        return self.name in _OF_GRAFANA


def source(dashboard: Dashboard, *references: object) -> Source:
    """What the first reference that says anything means: an object with type and uid, or a name."""
    for reference in references:
        name, type_ = _parts(reference)
        if name or type_:
            return Source(name, _type(dashboard, name) or type_)
    return Source("", OF_THE_STACK[_DEFAULT])


def _parts(reference: object) -> tuple[str, str]:
    """Name and type, each "" when it is not there."""
    parts = reference if isinstance(reference, dict) else {"uid": reference}
    name, type_ = (value if isinstance(value, str) else "" for value in (parts.get("uid"), parts.get("type")))
    if type_ in _OF_GRAFANA and not name:
        name = type_
    return "" if name == "default" else name, type_


def _type(dashboard: Dashboard, name: str) -> str:
    """The type of a datasource of this stack, or of those that a variable offers."""
    uid = _NAMES.get(name, name)
    variable = variable_of(name)
    choices = (each.get("query") for each in dashboard.variables if each.get("name") == variable and is_choice(each))
    return OF_THE_STACK.get(uid) or next((type_ for type_ in choices if isinstance(type_, str)), "")


def is_choice(variable: dict[str, object]) -> bool:
    """Whether people choose a datasource by it."""
    return variable.get("type") == "datasource"


def check_sources(dashboard: Dashboard) -> Iterator[Finding]:
    """Each datasource that may not be there is named once, with the first place that asks it."""
    places: dict[Source, list[str]] = {}
    for place, origin in _origins(dashboard):
        places.setdefault(origin, []).append(place)
    for origin, (first, *others) in places.items():
        yield from _problem(dashboard, origin, f"{first} and {len(others)} more" if others else first)
    for variable in dashboard.variables:
        if is_choice(variable) and variable.get("query") not in OF_THE_STACK.values():
            place = f"variable {variable.get('name')}"
            what = f"offers datasources of the type {variable.get('query')}, of which this stack has none"
            yield Finding(Severity.WARNING, place, what, "without one of yours, panels that ask it show no data")


def _origins(dashboard: Dashboard) -> Iterator[tuple[str, Source]]:
    for annotation in objects(dashboard.document, "annotations", "list"):
        yield f"annotation {annotation.get('name')}", source(dashboard, annotation.get("datasource"))
    for variable in dashboard.variables:
        if variable.get("type") in ("query", "adhoc", "groupby"):
            yield f"variable {variable.get('name')}", source(dashboard, variable.get("datasource"))
    for panel in dashboard.panels:
        for target in objects(panel, "targets"):
            place = f"{place_of(panel)}, query {target.get('refId')}"
            yield place, source(dashboard, target.get("datasource"), panel.get("datasource"))


def _problem(dashboard: Dashboard, origin: Source, place: str) -> Iterator[Finding]:
    name = origin.name
    variable = variable_of(name)
    if variable:
        if variable not in dashboard.variable_names | dashboard.input_names:
            yield Finding(Severity.ERROR, place, f"its datasource is {name}, and there is no such variable",
                          "declare it under templating, with the type datasource")  # fmt: skip
    elif origin.is_of_grafana or next(variables_in(name), None):
        return
    elif not name or name in OF_THE_STACK or name in _NAMES:
        what = f"its datasource is {name or 'the default one'}, not a variable"
        yield Finding(Severity.WARNING, place, what, _AS_A_VARIABLE)
    else:
        what = f"its datasource is {name}, which is none of this stack"
        yield Finding(Severity.WARNING, place, what, f"unless Grafana has it, there is no data; {_AS_A_VARIABLE}")
