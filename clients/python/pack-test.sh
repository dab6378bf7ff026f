#!/bin/sh
# Packs the wheel, installs it in an empty environment, and checks the types of a user's program
# there and runs it. What packs and checks is the environment of check.sh.
set -eu
cd "$(dirname "$0")"
[ -x .venv/bin/python ] || ./check.sh --collect-only > /dev/null
tools=$PWD/.venv/bin/python
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# From a copy, so that nothing is left in the tree.
cp -R pyproject.toml README.md LICENSE src "$folder"
export PIP_QUIET=1 PIP_DISABLE_PIP_VERSION_CHECK=1
"$tools" -m pip wheel --no-deps --no-build-isolation --wheel-dir "$folder" "$folder"
"$tools" -m venv "$folder/empty"
user=$folder/empty/bin/python
"$user" -m pip install --constraint requirements-dev.txt "$folder"/watchroute-*.whl

cat > "$folder/program.py" <<'EOF'
import asyncio

import watchroute
from watchroute.v1 import watch_pb2


async def main() -> None:
    async with watchroute.Client("127.0.0.1:1", fail_fast=True) as client:
        try:
            async for event in client.watch("notes", watch_pb2.Bookmark):
                name: int = event.name  # type: ignore[assignment]  # a type is known, and is not this
                data: watch_pb2.Bookmark | None = event.data
                print(name, data, event.kind is watchroute.Kind.PRESENT)
            async for batch in client.watch("notes").batches(0.5):
                print([event.revision + 1 for event in batch])
            print([resource.data["text"] async for resource in client.list_all("notes")])
        except watchroute.WatchrouteError as error:
            assert error.code.name == "UNAVAILABLE", error


asyncio.run(main())
EOF
cd "$folder" # not where the sources are
rm -r src
"$tools" -m mypy --strict --no-incremental --config-file= --python-executable "$user" program.py
"$user" -W error program.py
echo "the wheel works"
