"""Which cases of the Autobahn suite are run, and in which parts.

The suite writes its index only when it ends, so a run is cut into parts that each end by themselves.
"""

from __future__ import annotations

import fnmatch

# Every group, with one or two sizes of each volume test (group 9) and of each deflate profile (12, 13).
REDUCED = (
    [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 10)]
    + "9.1.1 9.1.6 9.2.1 9.2.6 9.3.1 9.4.1 9.7.1 9.8.1".split()
    + "12.1.1 12.1.10 12.2.1 12.3.1 12.4.1 12.5.1 13.1.1 13.2.1 13.3.1 13.5.1 13.7.1".split()
)
FULL = ["*"]

# Part name -> patterns of its cases; the deflate groups stand alone because they take by far the longest.
PARTS = {
    "framing": [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 10)],
    "volume": ["9.*"],
    "deflate-12": ["12.*"],
    "deflate-13": ["13.*"],
}


def matches(case: str, patterns: list[str]) -> bool:
    """Whether a case id such as `9.1.6` fits one of the patterns; `*` stands for any text."""
    return any(fnmatch.fnmatchcase(case, pattern) for pattern in patterns)


def parts(known: list[str], wanted: list[str]) -> dict[str, list[str]]:
    """The wanted cases out of those the suite knows, by part, empty parts left out.

    Fails when a pattern names no case or a case belongs to no part, so that none is lost by a typing error.
    """
    for pattern in wanted:
        if not any(matches(case, [pattern]) for case in known):
            raise ValueError(f"the suite has no case {pattern}")
    chosen = [case for case in known if matches(case, wanted)]
    by_part = {name: [case for case in chosen if matches(case, patterns)] for name, patterns in PARTS.items()}
    placed = {case for cases in by_part.values() for case in cases}
    if lost := [case for case in chosen if case not in placed]:
        raise ValueError(f"no part has the cases {' '.join(lost)}")
    return {name: cases for name, cases in by_part.items() if cases}
