#!/usr/bin/env python3
"""Checks the resolved dependencies against deny.toml: licences, banned crates, and where they come from.

cargo-deny does the same and more, but takes minutes to build; this needs nothing but cargo and Python.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINE = re.compile(r"(\S+) v(\S+)(?: \(proc-macro\))?(?: \((.*)\))?\t(.*)")


def main() -> int:
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    allowed = set(rules["licenses"]["allow"])
    banned = {entry["crate"]: entry["reason"] for entry in rules["bans"]["deny"]}
    faults = [fault for package in resolved_packages() for fault in judge(*package, allowed, banned)]
    for fault in faults:
        print(f"licences: {fault}", file=sys.stderr)
    return 1 if faults else 0


def resolved_packages() -> list[tuple[str, str, str, str]]:
    """Name, version, origin and licence of all that any target or feature really uses.

    `cargo tree` and not `cargo metadata`: the latter also lists optional dependencies that nothing switches on.
    """
    command = ["cargo", "tree", "--quiet", "--locked", "--workspace", "--all-features", "--target", "all"]
    command += ["--prefix", "none", "--no-dedupe", "--format", "{p}\t{l}"]
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    lines = {line for line in output.splitlines() if line}
    return sorted(LINE.fullmatch(line).groups(default="") for line in lines)


def judge(name: str, version: str, origin: str, licence: str, allowed: set[str], banned: dict[str, str]):
    """Yields what is wrong with one package, as sentences. Its origin is empty for crates.io, else a folder or an address."""
    package = f"{name} {version}"
    if name in banned:
        yield f"{package} is banned: {banned[name]}"
    if origin and not origin.startswith(str(ROOT)):
        yield f"{package} comes from {origin}, not from crates.io"
    if not licence:
        yield f"{package} states no licence"
    elif not satisfied(licence, allowed):
        yield f"{package} is licensed {licence}, which deny.toml does not allow"


def satisfied(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met with allowed licences; `/` is the old spelling of OR."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def any_of() -> bool:
        met = all_of()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = all_of() or met
        return met

    def all_of() -> bool:
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one() -> bool:
        token = tokens.pop(0)
        if token == "(":
            met = any_of()
            tokens.pop(0)
            return met
        if tokens and tokens[0] == "WITH":
            token = f"{token} WITH {tokens.pop(1)}"
            tokens.pop(0)
            return token in allowed or token.split()[0] in allowed
        return token in allowed

    return any_of()


if __name__ == "__main__":
    sys.exit(main())
