#!/usr/bin/env python3
"""Runs programs that this project did not write against the real hub: Python, curl, Java, Node.js, Chromium.

    WHUB_BIN=target/debug/whub tests/foreign/run.py [MODULE…]

Needs what `make setup` installs, and runs itself with the Python of that environment.
"""

from __future__ import annotations

import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOOLS = pathlib.Path(os.environ.get("WHUB_TOOLS") or ROOT / ".tools").resolve()
PYTHON = TOOLS / "venv" / "bin" / "python"


def main() -> int:
    if not os.environ.get("WHUB_BIN"):
        sys.exit("WHUB_BIN must name the whub binary to test")
    if not PYTHON.exists():
        sys.exit(f"there is no {PYTHON}; run `make setup`")
    if pathlib.Path(sys.prefix) != PYTHON.parent.parent:
        os.execv(PYTHON, [str(PYTHON), __file__, *sys.argv[1:]])

    sys.path[:0] = [str(HERE), str(ROOT / "tools")]
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(sys.argv[1:]) if sys.argv[1:] else loader.discover(str(HERE))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    passed = result.testsRun - failed - len(result.skipped)
    print(f"foreign: {passed} passed, {failed} failed" + (f", {len(result.skipped)} skipped" if result.skipped else ""), flush=True)
    return 0 if result.wasSuccessful() and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
