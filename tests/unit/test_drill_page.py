"""The HTML report: what it shows of each ending, and that nothing in a journal can get out of its place."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path

import pytest

from obsctl.drills.tell.page import html
from tests.drill_journals import ENDINGS, HOSTILE, hostile, journal, verdict

ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "header", "section", "footer", "div", "span", "p", "pre"),
    *(
        "h1",
        "h2",
        "h3",
        "b",
        "strong",
        "small",
        "bdi",
        "time",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "details",
        "summary",
    ),
    *("table", "thead", "tbody", "tr", "th", "td", "svg", "rect", "line", "circle", "text", "polyline"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "role", "aria-label", "aria-hidden", "tabindex"),
    *("colspan", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "width", "height", "text-anchor", "points"),
    *("viewbox", "preserveaspectratio"),
}


class Elements(HTMLParser):
    """Which elements and attributes a page has, and its texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(filter(None, self.texts))


@pytest.mark.parametrize("ending", ENDINGS)
def test_each_ending_has_its_page(ending: str) -> None:
    records = journal(ending)
    page = html(records)
    assert Elements(page).elements <= ELEMENTS
    assert Elements(page).attributes <= ATTRIBUTES
    assert f"<strong>{verdict(ending).replace('_', ' ')}</strong>" in page
    assert page.count("<summary>") >= len(records)


def test_a_proven_drill_shows_its_stages_deliveries_and_hashes() -> None:
    records = journal()
    text = Elements(html(records)).text
    for words in (
        "exit code 0", "5 of 5", "12.0 s", "10.0 \u2013 18.2 s", "alert-sink received_at", "▲ firing", "✓ resolved",
        "Put back · started version 1, which was stopped", "expected or allowed", records[-1].sha256,
        records[2].data["recipe"]["digest"],
    ):  # fmt: skip
        assert words in text, words


def test_what_was_missed_and_what_was_not_waited_for_differ() -> None:
    text = Elements(html(journal("MISSED"))).text
    assert "missed the fault is there for Prometheus too, but the rule does not become true" not in text
    assert "the fault is there for Prometheus too, but the rule does not become true" in text
    assert text.count("not reached") >= 4


def test_what_must_stay_away_is_shown() -> None:
    assert "stays away quiet" in Elements(html(journal("PROVEN, and another stays away"))).text
    assert "stays away fired" in Elements(html(journal("COLLATERAL"))).text


def test_a_drill_that_did_not_begin_says_why() -> None:
    text = Elements(html(journal("NOT_STEADY"))).text
    assert "Why it did not begin" in text
    assert "Timeline" not in text


def test_a_failed_revert_shows_what_to_type() -> None:
    assert "nomad job start demo-response" in Elements(html(journal("REVERT_FAILED"))).text


def test_every_prefix_of_a_journal_has_a_page() -> None:
    """kill -9 may come after any record."""
    records = journal()
    for length in range(1, len(records)):
        assert "</html>" in html(records[:length])


def test_only_its_own_style_may_be_used() -> None:
    page = html(journal())
    style = re.search("<style>(.*)</style>", page, re.DOTALL)
    assert style
    digest = b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in page
    assert not re.search(r"url\(|@import|//|\bhref|\bsrc", style[1])


def test_what_others_write_stays_text(tmp_path: Path) -> None:
    page = html(hostile(journal(), tmp_path / "hostile.jsonl"))
    page.encode()
    elements = Elements(page)
    assert elements.elements <= ELEMENTS
    assert elements.attributes <= ATTRIBUTES
    assert "{{ 7*7 }}" in elements.text
    assert not set(HOSTILE[-3:]) & set(page)
