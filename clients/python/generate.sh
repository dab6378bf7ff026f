#!/bin/sh
# Generates src/watchroute/v1 from the contract, with the grpcio-tools of the environment that
# check.sh makes. With a folder as argument: into that folder.
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-.venv/bin/python}
out=${1:-src}
proto=../../proto
common=$("$python" -c 'import google.rpc, os; print(os.path.dirname(os.path.dirname(list(google.rpc.__path__)[0])))')
rm -rf "$out/watchroute/v1"
(cd "$proto" && ls watchroute/v1/*.proto) | xargs "$python" -m grpc_tools.protoc \
  -I "$proto" -I "$common" --python_out="$out" --pyi_out="$out"
"$python" -m grpc_tools.protoc -I "$proto" -I "$common" --grpc_python_out="$out" watchroute/v1/service.proto
printf '"""The contract, generated from proto/watchroute/v1."""\n' > "$out/watchroute/v1/__init__.py"
