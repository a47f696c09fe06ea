import pytest

from obsctl.drills.plan import parameters
from obsctl.drills.plan.parameters import Parameter
from obsctl.errors import ObsctlError

SHARE = Parameter("share", "share", "Share of the requests.", "50%")
DELAY = Parameter("delay", "duration", "How long.")
OF_FAULT = {"share": SHARE, "delay": DELAY}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [("share", "25%", 0.25), ("share", "0.5%", 0.005), ("share", "100%", 1.0), ("duration", "1m30s", 90.0),
     ("count", "3", 3), ("text", "config/key", "config/key")],
)  # fmt: skip
def test_a_value_is_read_as_its_kind_says(kind, text, value):
    assert Parameter("x", kind, "").read(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [("share", "0%"), ("share", "101%"), ("share", "0.5"), ("share", "nan%"), ("share", "%"), ("share", "x%"),
     ("duration", "5"), ("duration", ""), ("count", "0"), ("count", "-1"), ("count", "1.5"), ("count", "9" * 5000),
     ("text", "a\nb"), ("text", "a" * 501)],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_it_must_be(kind, text):
    with pytest.raises(ObsctlError, match=r"x of the fault f (must|write)"):
        parameters.values({"x": Parameter("x", kind, "", "")}, {"x": text}, fault="f")


def test_what_is_not_written_has_its_default():
    assert parameters.values(OF_FAULT, {"delay": "2s"}, fault="f") == {"share": 0.5, "delay": 2.0}


def test_one_without_a_default_must_be_written():
    with pytest.raises(ObsctlError, match=r"the fault f needs delay: How long\.") as failure:
        parameters.values(OF_FAULT, {}, fault="f")
    assert failure.value.hint == "--delay"


def test_a_name_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(ObsctlError, match="has no parameter dealy") as failure:
        parameters.values(OF_FAULT, {"dealy": "2s"}, fault="f")
    assert "delay, share" in failure.value.hint
