"""What the linter warns of and what is meant to be so, each with its reason.

A warning that is not listed fails; so does an entry that no answer called for, so that the table
stays true.
"""

from __future__ import annotations

# The linter's name of the warning: the exchanges it is about, and why it is right so.
EXPLAINED: dict[str, tuple[set[str], str]] = {
    "STATUS_BAD_REQUEST": (
        {"two credentials", "dots in the path"},
        "says only that the status is 400, which it is meant to be.",
    ),
    "FRESHNESS_HEURISTIC": (
        {
            "an open path", "a read", "a read, HEAD", "a part", "in chunks", "until the end",
            "with hop-by-hop fields", "after an early hint", "a large answer",
        },
        "Airflow's answers pass as they are: this Airflow says nothing of caching, and airside adds"
        " nothing. Answers of airside's own carry Cache-Control: no-store.",
    ),
}
