"""Judges what the Autobahn suite recorded: its exit status says nothing, `index.json` says all."""

from __future__ import annotations

import dataclasses
import fnmatch

OK = "OK"
INFORMATIONAL = "INFORMATIONAL"
NON_STRICT = "NON-STRICT"
UNIMPLEMENTED = "UNIMPLEMENTED"
FAILED = "FAILED"
VERDICTS = [OK, INFORMATIONAL, NON_STRICT, UNIMPLEMENTED, FAILED]

_CLOSE_FAULTS = {"FAILED", "WRONG CODE", "UNCLEAN"}


def verdict(entry: dict) -> str:
    """The verdict on one case: how it behaved, or FAILED when the connection did not end as it must.

    A behaviour this page does not know counts as FAILED, so a change of the suite cannot pass unseen.
    """
    behavior = entry.get("behavior")
    if behavior not in VERDICTS or entry.get("behaviorClose") in _CLOSE_FAULTS:
        return FAILED
    return behavior


@dataclasses.dataclass(frozen=True)
class Finding:
    """A case that did not simply pass."""

    case: str
    verdict: str
    detail: str
    reason: str | None = None

    @property
    def excused(self) -> bool:
        """Whether the list of expected results has this very result, with a reason."""
        return self.reason is not None


def expected_reason(case: str, result: str, expected: dict[str, dict]) -> str | None:
    """Why this result is accepted for this case, or None. Keys of `expected` are case ids or patterns."""
    for pattern, entry in expected.items():
        if fnmatch.fnmatchcase(case, pattern) and entry["verdict"] == result:
            return entry["reason"]
    return None


@dataclasses.dataclass
class Result:
    """The outcome of one role: how many cases had which verdict, by group, and what is to be looked at."""

    groups: dict[str, dict[str, int]]
    findings: list[Finding]
    missing: list[str]

    @property
    def total(self) -> int:
        return sum(sum(counts.values()) for counts in self.groups.values())

    @property
    def failures(self) -> int:
        """Cases that must be mended: findings without a reason, and cases the suite did not report."""
        return len(self.failed_cases)

    @property
    def failed_cases(self) -> list[str]:
        """Their ids."""
        return [finding.case for finding in self.findings if not finding.excused] + self.missing


def judge(cases: list[str], index: dict[str, dict], expected: dict[str, dict]) -> Result:
    """Judges the recorded `index` (case id to entry) of the `cases` that were to be run."""
    groups: dict[str, dict[str, int]] = {}
    findings = []
    for case in cases:
        entry = index.get(case)
        if entry is None:
            continue
        result = verdict(entry)
        counts = groups.setdefault(case.split(".")[0], dict.fromkeys(VERDICTS, 0))
        counts[result] += 1
        if result not in (OK, INFORMATIONAL):
            detail = f"behavior {entry.get('behavior')}, close {entry.get('behaviorClose')}"
            findings.append(Finding(case, result, detail, expected_reason(case, result, expected)))
    return Result(groups, findings, [case for case in cases if case not in index])


def table(title: str, result: Result) -> str:
    """The counts as text, a row for each group and one for the sum."""
    rows = [[title, "cases", *VERDICTS]]
    sums = dict.fromkeys(VERDICTS, 0)
    for group in sorted(result.groups, key=int):
        counts = result.groups[group]
        rows.append([f"{group}.*", str(sum(counts.values())), *(str(counts[name]) for name in VERDICTS)])
        for name in VERDICTS:
            sums[name] += counts[name]
    rows.append(["all", str(sum(sums.values())), *(str(sums[name]) for name in VERDICTS)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))) for row in rows)
    return "\n".join(lines)
