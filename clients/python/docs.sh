#!/bin/sh
# Writes the reference of the package into docs/. The environment is that of check.sh.
set -eu
cd "$(dirname "$0")"
[ -x .venv/bin/python ] || ./check.sh --collect-only > /dev/null
.venv/bin/python -m pip install --quiet --disable-pip-version-check pdoc==16.0.0
rm -rf docs
PYTHONPATH=src .venv/bin/python -m pdoc --output-directory docs watchroute "!watchroute.v1"
