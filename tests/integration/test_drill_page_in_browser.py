"""The HTML report of a drill in a real browser: at the widths of a desk and a phone, light, dark and printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from obsctl.drills.tell.page import html
from tests.browser import Page, browser
from tests.drill_journals import hostile, journal

pytestmark = pytest.mark.real

CONTRAST = """
(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const linear = (part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    throw Error("no ground");
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim()) continue;
    const style = getComputedStyle(element);
    const color = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(channels(color)), light(ground(element))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), texts.currentNode.data.trim().slice(0, 40)]);
  }
  return found.sort((x, y) => x[0] - y[0]);
})()
"""
"""The contrast of each text with what is behind it, by WCAG 2 (relative luminance), the least first."""
WIDER = """
[...document.querySelectorAll("body *")]
  .filter((element) => !element.closest(".scroll"))
  .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map((element) => element.outerHTML.slice(0, 90))
"""
"""What goes beyond the right edge, but for tables, which scroll by themselves."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as program:
        yield program.page()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    records = {name: journal(name) for name in ("PROVEN", "MISSED", "NOT_STEADY")}
    records["HOSTILE"] = hostile(records["PROVEN"], folder / "hostile.jsonl")
    made = {name: folder / f"{name}.html" for name in records}
    for name, file in made.items():
        file.write_text(html(records[name]), encoding="utf-8")
    return made


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        *(("PROVEN", width, scheme) for width in (1280, 390) for scheme in ("light", "dark")),
        ("MISSED", 360, "light"), ("MISSED", 1280, "dark"), ("HOSTILE", 360, "dark"), ("NOT_STEADY", 360, "light"),
    ],
)  # fmt: skip
def test_it_is_readable_and_asks_for_nothing(
    page: Page, files: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    before = len(page.requests)
    page.open(files[name], width=width, scheme=scheme)
    assert page.requests[before:] == [files[name].as_uri()]
    assert page.complaints == []
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.value(WIDER) == []
    least, text = page.value(CONTRAST)[0]
    assert least >= 4.5, text


def test_dark_is_dark_and_light_is_light(page: Page, files: dict[str, Path]) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        page.open(files["PROVEN"], width=1280, scheme=scheme)
        grounds.append(page.value("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(246, 247, 249)", "rgb(15, 18, 22)"]


def test_on_paper_all_is_open_and_dark_on_white(page: Page, files: dict[str, Path]) -> None:
    page.open(files["PROVEN"], width=1280, scheme="dark")
    page.media("print", "dark")
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.value("[...document.querySelectorAll('details pre')].every((text) => text.checkVisibility())")
    assert page.value(CONTRAST)[0][0] >= 4.5
    assert len(page.do("Page.printToPDF")["data"]) > 20_000


def test_what_is_hostile_stays_text(page: Page, files: dict[str, Path]) -> None:
    page.open(files["HOSTILE"], width=1280, scheme="light")
    assert page.value("document.querySelectorAll('script, img, iframe, object, link, a, form').length") == 0
    assert page.value("document.body.innerText.includes('<script>alert(1)</script>')")
