#!/usr/bin/env bash
# Makes the Python environment of the tests, $WHUB_TOOLS/venv.
. "$(dirname "$0")/common.sh"

wanted=$REPO/tools/setup/requirements.txt
venv=$WHUB_TOOLS/venv
"$venv/bin/python" -c '' 2>/dev/null && fresh "$venv/stamp" "$wanted" && exit 0

say "Python environment in $venv"
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$wanted"
mark "$venv/stamp" "$wanted"
