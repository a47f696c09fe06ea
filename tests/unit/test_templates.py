"""What a template may do, whoever wrote it: it makes text, and nothing else happens."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from obsctl.config.schema import Config
from obsctl.errors import ObsctlError
from obsctl.stack.render import render
from tests.foreign import give_away

PICKLE = "'cposix\\nsystem\\n(S\"touch {}\"\\ntR.'"
"""What runs a command where it is unpickled."""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    (tmp_path / "jobs").mkdir()
    return tmp_path / "jobs" / "warden.nomad.hcl.j2"


def warden(folder: Path) -> str:
    jobs = render(Config(), folder).jobs
    return next(job.hcl for job in jobs if job.component == "warden")


def refusal(template: Path) -> str:
    with pytest.raises(ObsctlError) as caught:
        warden(template.parents[1])
    return caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "<%= ''.__class__.__mro__ %>",
        "<%= lipsum.__globals__['os'].popen('id').read() %>",
        "<%= cycler.__init__.__globals__ %>",
        "<%= driver.__self__ %>",
        "<%= driver.__func__.__globals__ %>",
        "<%= names.__builtins__ %>",
        "<%= names.__dict__ %>",
        "<%= '{0.__class__}'.format('') %>",
        "<%= components.model_dump() %>",
        "<%= timing.model_copy(update={}) %>",
        "<%= components.jaeger.model_construct() %>",
        "<% set _ = [].append(1) %>",
    ],
)
def test_a_template_reaches_nothing_but_what_it_is_given(template: Path, text: str) -> None:
    template.write_text(f"\n{text}\n")
    message = refusal(template)
    assert message.startswith(f"{template}:2: ")
    assert "unsafe" in message or "not safely callable" in message


@pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince20")
def test_nothing_is_unpickled(template: Path, tmp_path: Path) -> None:
    pickle = PICKLE.format(tmp_path / "ran")
    template.write_text(f"<%= timing.parse_raw({pickle}.encode(), proto='pickle', allow_pickle=true) %>\n")
    assert "not safely callable" in refusal(template)
    assert not (tmp_path / "ran").exists()


def test_what_templates_need_they_can_do(template: Path) -> None:
    template.write_text(
        "<% macro twice(word) %><%= word %><%= word %><% endmacro %>"
        "<% for item in ('a,b'.split(',')) %><%= loop.cycle('x', 'y') %><%= twice(item | upper) %><% endfor %>"
        "<% set seen = namespace(n=0) %><% set seen.n = seen.n + 1 %> <%= seen.n %>"
        " <%= dict(a=1).items() | list %> <%= names.job_id(stack, 'x') %> <%= driver(components.warden) %>"
    )
    assert warden(template.parents[1]) == "xAAyBB 1 [('a', 1)] obs-x docker\n"


def test_a_template_that_others_may_have_written(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template.write_text("")
    give_away(template, monkeypatch)
    assert "belongs to" in refusal(template)


def test_one_in_a_folder_that_everybody_can_write(template: Path) -> None:
    template.write_text("")
    template.parent.chmod(0o777)
    assert f"{template.parent} can be written by everybody" in refusal(template)


def test_one_that_leads_to_another_file_of_the_machine(
    template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    private = tmp_path_factory.mktemp("home") / "credentials"
    private.write_text("s3cret")
    template.symlink_to(private)
    assert "is outside" in refusal(template)


def test_a_fifo_in_the_place_of_one(template: Path) -> None:
    os.mkfifo(template)
    assert "no regular file" in refusal(template)
