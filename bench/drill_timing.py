"""Runs drills in a row and compares each stage with the forecast.

Run: python bench/drill_timing.py [DRILLS] [SERVICE], with the stack of the nearest obsctl.yaml up (make demo).
Prints, for each stage, the forecast's and the measured minimum, mean and maximum in seconds, how many drills lay
inside the band, and how far the measured mean is from the forecast's.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obsctl.wait import SYSTEM_CLOCK

OBSCTL = str(Path(sys.executable).parent / "obsctl")


@dataclass(frozen=True)
class Row:
    """One stage over all drills; times in seconds."""

    stage: str
    forecast_mean: float
    band: tuple[float, float]
    seconds: tuple[float, ...]
    inside: int

    @property
    def mean(self) -> float:
        return statistics.fmean(self.seconds)

    @property
    def deviation(self) -> float:
        """How far the measured mean is from the forecast's, as a share of it."""
        return self.mean / self.forecast_mean - 1


def drills(count: int, service: str, environ: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """One after the other; their JSON documents.

    A drill ends soon after an evaluation, so the moment of the next fault in the cycles of scrapes and evaluations
    would not be random. The forecast is for a fault at any moment of them, and so each drill begins at a random one.
    """
    cycle = 0.0
    for _ in range(count):
        SYSTEM_CLOCK.sleep(random.uniform(0, cycle))
        document = drill(service, environ)
        forecasts = document["journal"][0]["data"]["forecasts"]
        settings = next(iter(forecasts.values()))["settings"]
        cycle = settings["scrape_interval"] + settings["evaluation_interval"]
        yield document


def drill(service: str, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """One drill; its JSON document."""
    ended = subprocess.run(
        [OBSCTL, "--json", "drill", "stop", service, "--yes"],
        capture_output=True, text=True, check=False, env=None if environ is None else dict(environ),
    )  # fmt: skip
    document: dict[str, Any] = json.loads(ended.stdout)
    if "verdict" not in document:
        sys.exit("the drill did not begin")  # it has said why
    return document


def rows(documents: Sequence[dict[str, Any]]) -> list[Row]:
    """The stages of all drills that reached them."""
    stages = [stage for document in documents for stage in document["verdict"]["stages"]]
    names = list(dict.fromkeys(stage["name"] for stage in stages))
    return [_row(name, [stage for stage in stages if stage["name"] == name]) for name in names]


def _row(name: str, stages: Sequence[dict[str, Any]]) -> Row:
    band = stages[0]["band"]
    return Row(
        stage=name,
        forecast_mean=band["mean"],
        band=(band["minimum"], band["maximum"]),
        seconds=tuple(stage["seconds"] for stage in stages),
        inside=sum(stage["in_band"] for stage in stages),
    )


def table(found: Sequence[Row]) -> str:
    lines = [f"{'stage':10} {'forecast min/mean/max':>24}   {'measured min/mean/max':>24}   {'inside':>7}   mean"]
    for row in found:
        forecast = f"{row.band[0]:.1f} / {row.forecast_mean:.1f} / {row.band[1]:.1f}"
        measured = f"{min(row.seconds):.1f} / {row.mean:.1f} / {max(row.seconds):.1f}"
        inside = f"{row.inside}/{len(row.seconds)}"
        lines.append(f"{row.stage:10} {forecast:>24}   {measured:>24}   {inside:>7}   {row.deviation:+.1%}")
    return "\n".join(lines)


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    service = sys.argv[2] if len(sys.argv) > 2 else "response-service"
    documents = []
    for number, document in enumerate(drills(count, service), start=1):
        documents.append(document)
        verdict = document["verdict"]
        print(f"drill {number} of {count}: {verdict['outcome']}: {verdict['reason']}", flush=True)
    print(table(rows(documents)))
    return 0 if all(document["verdict"]["outcome"] == "PROVEN" for document in documents) else 1


if __name__ == "__main__":
    sys.exit(main())
