#!/bin/sh
# Generates shop/v1 from the example's contract, as README.md of clients/python tells users to do
# with theirs.
set -eu
cd "$(dirname "$0")"
root=../../../..
python=${PYTHON:-$root/clients/python/.venv/bin/python}
out=${1:-.}
common=$("$python" -c 'import google.rpc, os; print(os.path.dirname(os.path.dirname(list(google.rpc.__path__)[0])))')
"$python" -m grpc_tools.protoc -I "$root/proto" -I "$common" --python_out="$out" --pyi_out="$out" shop/v1/orders.proto
