"""What is generated is what is committed, and what users generate of their own contract works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROTO = ROOT.parents[1] / "proto"

pytestmark = pytest.mark.skipif(not PROTO.exists(), reason="the contract is not here: this is not the whole tree")


def generated(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".py", ".pyi")}


def test_generating_changes_nothing(tmp_path):
    subprocess.run([str(ROOT / "generate.sh"), str(tmp_path)], check=True, env={**os.environ, "PYTHON": sys.executable})
    assert generated(tmp_path / "watchroute" / "v1") == generated(ROOT / "src" / "watchroute" / "v1")


def test_the_drivers_stubs_are_those_of_the_example(tmp_path):
    driver = ROOT.parents[1] / "e2e" / "conformance" / "drivers" / "python"
    subprocess.run([str(driver / "generate.sh"), str(tmp_path)], check=True, env={**os.environ, "PYTHON": sys.executable})
    assert generated(tmp_path / "shop" / "v1") == generated(driver / "shop" / "v1")


def test_a_contract_of_ones_own_as_the_readme_says(tmp_path):
    """The README's command, with the example's contract, and a program that uses both."""
    commands = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("python -m grpc_tools.protoc")]
    assert len(commands) == 1
    include = subprocess.run([sys.executable, "-c", "import google.rpc, os; print(os.path.dirname(os.path.dirname(list(google.rpc.__path__)[0])))"],
                             check=True, capture_output=True, text=True).stdout.strip()
    command = commands[0].replace("python -m", f"{sys.executable} -m", 1).replace("PROTO", str(PROTO)).replace("$INCLUDE", include)
    command = command.replace("OUT", str(tmp_path)).replace("my/v1/orders.proto", "shop/v1/orders.proto")
    subprocess.run(command, shell=True, check=True)
    program = """
import watchroute
from shop.v1.orders_pb2 import Order
from watchroute.v1 import options_pb2
assert Order.DESCRIPTOR.GetOptions().Extensions[options_pb2.resource].collection == "orders"
client = watchroute.Client("127.0.0.1:1")
assert client.watch("orders", Order).request.parent == "orders"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True,
                   env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(tmp_path)])})
