#!/bin/sh
# Makes the environment where it is missing or stale, and checks types and tests. Arguments go to
# pytest. PYTHON3 chooses the interpreter of a new environment.
set -eu
cd "$(dirname "$0")"
wanted=$(cat requirements-dev.txt)
if [ "$(cat .venv/made-of 2>/dev/null)" != "$wanted" ]; then
  rm -rf .venv
  "${PYTHON3:-python3}" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
  printf '%s\n' "$wanted" > .venv/made-of
fi
.venv/bin/python -m mypy
.venv/bin/python -m pytest -q "$@"
