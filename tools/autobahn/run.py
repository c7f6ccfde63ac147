#!/usr/bin/env python3
"""Runs the Autobahn WebSocket test suite against whub: as server, as client, as gateway, or in several of these roles.

    run.py --whub target/debug/whub                    a hub of our own, started and stopped here
    run.py --server ws://127.0.0.1:9000/echo           any echo server that already runs
    run.py --client 'target/debug/examples/autobahn_client'    our client side against the suite's server
    run.py --gateway target/debug/whub                 two hubs of our own, the first a gateway to the echo of the second

`--full` runs all 517 cases, `--reduced` (the default) some of every group. Prints a table of counts and each case that
did not simply pass. Exit status: 0 all passed, 1 a case failed that `expected.json` does not list, 2 the run broke off.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import cases
import verdict
from hub import Hub, HubFault
from suite import Broken, Suite

TOOLS = pathlib.Path(os.environ.get("WHUB_TOOLS") or HERE.parent.parent / ".tools").resolve()


def main() -> int:
    args = arguments()
    wstest = TOOLS / "autobahn" / "wstest"
    if not wstest.exists():
        sys.exit("the suite is not installed; run `make setup` or tools/autobahn/install.sh")
    suite = Suite(wstest, args.report, deadline_s=1800 if args.full else 900)
    chosen = cases.parts(suite.known_cases(), args.cases or (cases.FULL if args.full else cases.REDUCED))
    expected = json.loads((HERE / "expected.json").read_text())
    try:
        results = list(run_roles(args, suite, chosen, expected))
    except (Broken, HubFault, subprocess.SubprocessError) as broken:
        print(f"autobahn: the run broke off: {broken}", file=sys.stderr)
        return 2
    return report(results, args.report)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="all cases")
    size.add_argument("--reduced", action="store_true", help="some cases of every group (default)")
    size.add_argument("--cases", nargs="+", metavar="PATTERN", help="only these, such as 7.1.5 or '12.*'")
    server = parser.add_mutually_exclusive_group()
    server.add_argument("--whub", metavar="BINARY", help="the whub binary to test as server")
    server.add_argument("--server", metavar="URL", help="a running echo server to test instead")
    parser.add_argument("--client", metavar="COMMAND", help="a client program; the suite's URL is appended")
    parser.add_argument("--gateway", metavar="BINARY", help="the whub binary to test as gateway before a conforming echo")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="parts run at a time")
    parser.add_argument("--report", type=pathlib.Path, default=TOOLS / "autobahn-reports", help="folder of the reports")
    args = parser.parse_args()
    args.report = args.report.resolve()
    if not (args.whub or args.server or args.client or args.gateway):
        parser.error("name what to test: --whub or --server, --client, --gateway")
    return args


def run_roles(args, suite: Suite, chosen: dict[str, list[str]], expected: dict):
    """Yields (role, result) for every role asked for."""
    def run_server(role: str, url: str) -> tuple[str, verdict.Result]:
        return role, run_role(args.jobs, chosen, expected[role], lambda part, ids: suite.test_server(role, url, part, ids))

    if args.whub:
        with running(args.whub, args.report / "hub.log", "--set", "debug.echo=true") as hub:
            yield run_server("server", f"{hub.url}/debug/echo")
    elif args.server:
        yield run_server("server", args.server)
    if args.gateway:
        with running(args.gateway, args.report / "echo.log", "--set", "debug.echo=true") as echo:
            config = args.report / "gateway.toml"
            config.write_text(f'[[endpoints]]\nname = "echo"\nurl = "{echo.url}/debug/echo"\n')
            with running(args.gateway, args.report / "gateway.log", "--config", str(config)) as hub:
                yield run_server("gateway", f"{hub.url}/gateway/echo")
    if args.client:
        yield "client", run_role(
            args.jobs, chosen, expected["client"], lambda part, ids: suite.test_client(args.client, part, ids)
        )


@contextlib.contextmanager
def running(binary: str, log: pathlib.Path, *flags: str):
    """A hub that must be there to the end, and end in order."""
    hub = Hub(binary, log, *flags)
    try:
        yield hub
    finally:
        hub.end()


def run_role(jobs: int, chosen: dict[str, list[str]], expected: dict, run_part) -> verdict.Result:
    """Runs all cases, those that failed once more by themselves, and judges them.

    In most cases the suite gives its peer one second, which a busy machine may not have; a fault fails twice.
    """
    index = run_parts(jobs, chosen, run_part)
    failed = verdict.judge(flat(chosen), index, expected).failed_cases
    if failed:
        index |= run_part("again", failed)
    return verdict.judge(flat(chosen), index, expected)


def run_parts(jobs: int, chosen: dict[str, list[str]], run_part) -> dict[str, dict]:
    """Runs all parts, the long ones first, and returns one index of all their cases."""
    index: dict[str, dict] = {}
    longest_first = sorted(chosen, key=lambda part: part.startswith("deflate"), reverse=True)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for part_index in pool.map(lambda part: run_part(part, chosen[part]), longest_first):
            index.update(part_index)
    return index


def flat(chosen: dict[str, list[str]]) -> list[str]:
    return [case for ids in chosen.values() for case in ids]


def report(results: list[tuple[str, verdict.Result]], folder: pathlib.Path) -> int:
    """Prints tables, findings and the closing line; returns the exit status."""
    for role, result in results:
        print(verdict.table(role, result), end="\n\n")
        for finding in result.findings:
            note = f"expected: {finding.reason}" if finding.excused else "not expected"
            print(f"{role} {finding.case}: {finding.verdict} ({finding.detail}); {note}")
        for case in result.missing:
            print(f"{role} {case}: the suite reported nothing")
    failed = sum(result.failures for _, result in results)
    excused = sum(finding.excused for _, result in results for finding in result.findings)
    passed = sum(result.total for _, result in results) - excused - failed + sum(len(result.missing) for _, result in results)
    if failed or excused:
        print(f"reports, a page for each case: {folder}")
    print(f"autobahn: {passed} passed, {failed} failed" + (f", {excused} skipped" if excused else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
