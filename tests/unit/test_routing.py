import pytest

from obsctl.stack.routing import Route, inhibited_by, receives_webhook, routes


def receivers(config, **labels):
    return [route.receiver for route in routes({"route": config}, labels)]


def matching(matcher, **labels):
    return receivers({"receiver": "top", "routes": [{"receiver": "child", "matchers": [matcher]}]}, **labels) == [
        "child"
    ]


@pytest.mark.parametrize(
    ("matcher", "takes", "leaves"),
    [
        ('severity="critical"', "critical", "warning"),
        ("severity=critical", "critical", "warning"),
        ('severity = "critical" ', "critical", "warning"),
        ('"severity"="critical"', "critical", "warning"),
        ('severity!="critical"', "warning", "critical"),
        ('severity=~"critical|page"', "page", "pages"),
        ('severity!~"critical|page"', "pages", "page"),
        ('severity=~"crit.*"', "crit\nical", "uncritical"),
        (r'severity="a\"b"', 'a"b', r"a\"b"),
        (r'severity="a\\b"', r"a\b", r"a\\b"),
        (r'severity="a\nb"', "a\nb", "anb"),
        (r'severity=~"web\\d+"', "web12", "webd"),
        (r'severity=~"web\d+"', "web12", "webd"),
        ('severity="="', "=", "=="),
        ('severity=""', "", "x"),
    ],
)
def test_a_matcher_takes_what_alertmanager_takes(matcher, takes, leaves):
    assert matching(matcher, severity=takes)
    assert not matching(matcher, severity=leaves)


def test_a_label_that_is_not_there_is_empty():
    assert matching('team=""')
    assert matching('team!="a"')
    assert matching('team=~".*"')
    assert not matching('team="a"')


def test_a_pattern_that_only_go_understands_takes_nothing():
    assert not matching(r'severity=~"\pL+"', severity="critical")


def test_all_matchers_of_a_route_have_to_fit():
    route = {"receiver": "top", "routes": [{"receiver": "child", "matchers": ['a="1"', 'b="2"']}]}
    assert receivers(route, a="1", b="2") == ["child"]
    assert receivers(route, a="1") == ["top"]


def test_the_first_route_that_fits_ends_the_search():
    route = {"receiver": "top", "routes": [{"receiver": "one"}, {"receiver": "two"}]}
    assert receivers(route) == ["one"]


def test_continue_goes_on_to_the_next_route_that_fits():
    children = [
        {"receiver": "one", "continue": True},
        {"receiver": "no", "matchers": ['a="1"'], "continue": True},
        {"receiver": "two"},
        {"receiver": "three"},
    ]
    assert receivers({"receiver": "top", "routes": children}) == ["one", "two"]


def test_the_deepest_route_that_fits_wins_and_its_parent_gets_nothing():
    inner = {"receiver": "inner", "matchers": ['b="2"']}
    outer = {"receiver": "outer", "matchers": ['a="1"'], "routes": [inner]}
    assert receivers({"receiver": "top", "routes": [outer]}, a="1", b="2") == ["inner"]
    assert receivers({"receiver": "top", "routes": [outer]}, a="1") == ["outer"]


def test_continue_inside_a_branch_does_not_leave_it():
    inner = {"receiver": "inner", "continue": True}
    outer = {"receiver": "outer", "routes": [inner]}
    assert receivers({"receiver": "top", "routes": [outer, {"receiver": "next"}]}) == ["inner"]


def test_a_route_inherits_what_it_does_not_say():
    inner = {"matchers": ['a="1"'], "group_wait": "2s"}
    top = {"receiver": "top", "group_wait": "1s", "group_interval": "3m", "routes": [inner]}
    assert routes({"route": top}, {"a": "1"}) == [Route("top", 2.0, 180.0)]


def test_without_any_word_alertmanagers_own_times_count():
    assert routes({"route": {"receiver": "top"}}, {}) == [Route("top", 30.0, 300.0)]


@pytest.mark.parametrize(
    ("receiver", "expected"),
    [
        ({"webhook_configs": [{"url": "http://127.0.0.1"}]}, True),
        ({"webhook_configs": [{"url": "http://127.0.0.1", "send_resolved": False}]}, False),
        ({"slack_configs": [{}]}, False),
        ({}, False),
    ],
)
def test_only_a_webhook_that_sends_ends_too_can_prove_a_drill(receiver, expected):
    assert receives_webhook({"receivers": [{"name": "other"}, {"name": "sink", **receiver}]}, "sink") is expected


def test_a_receiver_that_is_not_there_proves_nothing():
    assert not receives_webhook({"receivers": []}, "sink")


RULE = {
    "source_matchers": ['severity="critical"'],
    "target_matchers": ['severity=~"warning|critical"'],
    "equal": ["zone"],
}
CRITICAL, WARNING = {"severity": "critical", "zone": "a"}, {"severity": "warning", "zone": "a"}


@pytest.mark.parametrize(
    ("rule", "source", "target", "inhibits"),
    [
        (RULE, CRITICAL, WARNING, True),
        (RULE, WARNING, WARNING, False),
        (RULE, CRITICAL, {**WARNING, "zone": "b"}, False),
        (RULE, CRITICAL, CRITICAL, False),
        ({**RULE, "equal": []}, CRITICAL, {"severity": "warning"}, True),
        ({"source_match": {"severity": "critical"}, "target_match": {"severity": "warning"}}, WARNING, WARNING, False),
    ],
    ids=["inhibits", "source", "equal", "both sides", "no equal", "former keys"],
)
def test_an_active_alert_inhibits_as_alertmanager_has_it(rule, source, target, inhibits):
    found = inhibited_by({"inhibit_rules": [rule]}, target, [{"alertname": "Other", **source}])
    assert found == (["Other"] if inhibits else [])
