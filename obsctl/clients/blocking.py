"""What the blocking queries of Nomad and Consul have in common."""

from __future__ import annotations

LONGEST_WAIT = 25.0  # newer Consul servers cut an answer that takes 30 s


def query(index: int, wait: float) -> dict[str, str | int]:
    """Parameters of a query that answers at once when something changed after `index`, else after `wait` seconds."""
    return {"index": index, "wait": f"{min(wait, LONGEST_WAIT) * 1000:.0f}ms"}


def longest(wait: float) -> float:
    """How long the server may take for it, in seconds: it adds up to a sixteenth, so that not all come at once."""
    return min(wait, LONGEST_WAIT) * 17 / 16


def next_index(index: int, answered: str | int) -> int:
    """The index of the next query: it starts over when the server's went backwards, and is never 0, which would
    not block."""
    return max(int(answered), 1) if int(answered) >= index else 1
