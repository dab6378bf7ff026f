"""Values, and deltas of messages of a contract."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import pytest
from google.protobuf import any_pb2, struct_pb2

from watchroute.errors import WRONG_TYPE, WatchrouteError
from watchroute.v1 import resource_pb2, watch_pb2
from watchroute.value import JsonCodec, MessageCodec, encode


def packed(message) -> any_pb2.Any:
    a = any_pb2.Any()
    a.Pack(message)
    return a


def test_json_is_exact():
    value = {"n": 2**100, "f": 0.1, "s": "ä\u2028", "l": [None, True, {"x": -1}], "e": {}}
    assert JsonCodec().decode(encode(value)) == value
    digits = "1" * 5000
    assert JsonCodec().decode(packed(resource_pb2.Json(text='{"n":%s}' % digits)))["n"] == Decimal(digits)
    struct = struct_pb2.Struct()
    struct.update({"a": 1})
    assert JsonCodec().decode(packed(struct)) == {"a": 1}


@pytest.mark.parametrize("text", ["", "[1]", '{"a":', "{\"a\":" * 100000])
def test_what_is_no_json_object_is_of_the_wrong_type(text):
    with pytest.raises(WatchrouteError) as caught:
        JsonCodec().decode(packed(resource_pb2.Json(text=text)))
    assert caught.value.reason == WRONG_TYPE


def test_messages_are_of_the_type_that_is_expected():
    codec = MessageCodec(watch_pb2.WatchRequest)
    assert codec.decode(packed(watch_pb2.WatchRequest(parent="a"))).parent == "a"
    broken = packed(watch_pb2.WatchRequest(parent="a"))
    broken.value = b"\x0a\xff"
    for wrong in (packed(watch_pb2.Bookmark()), any_pb2.Any(), broken):
        with pytest.raises(WatchrouteError) as caught:
            codec.decode(wrong)
        assert caught.value.reason == WRONG_TYPE


def test_numbers_that_are_not_json_are_refused():
    with pytest.raises(ValueError):
        encode({"n": float("nan")})


def test_a_delta_of_a_message():
    codec = MessageCodec(watch_pb2.WatchRequest)
    held = watch_pb2.WatchRequest(parent="a", names=["1", "2"], filter="x", after_revision=7, delta=True)
    held.heartbeat.seconds, held.heartbeat.nanos = 5, 6
    part = watch_pb2.WatchRequest(names=["3"], resume_token="t")
    part.heartbeat.seconds = 9
    # The oneof changes its member; both are listed, as both changed.
    got = codec.merged(held, packed(part), ["after_revision", "filter", "heartbeat.seconds", "names", "not_known", "parent.x", "resume_token"])
    want = watch_pb2.WatchRequest(parent="a", names=["3"], resume_token="t", delta=True)
    want.heartbeat.seconds, want.heartbeat.nanos = 9, 6
    assert got == want
    assert held.filter == "x"  # a value of its own
    assert codec.merged(held, any_pb2.Any(), []) == held  # labels only


def test_a_delta_of_maps_and_optional_fields():
    codec = MessageCodec(resource_pb2.Resource)
    held = resource_pb2.Resource(name="a", labels={"a": "1", "b": "2"})
    held.update_time.seconds = 4
    part = resource_pb2.Resource(labels={"b": "3"})
    got = codec.merged(held, packed(part), ["labels", "update_time", "create_time"])
    assert got == resource_pb2.Resource(name="a", labels={"b": "3"})


def test_a_delta_of_an_example_contract():
    driver = Path(__file__).resolve().parents[3] / "e2e" / "conformance" / "drivers" / "python"
    if not driver.exists():
        pytest.skip("the example is not here: this is not the whole tree")
    sys.path.append(str(driver))
    from shop.v1.orders_pb2 import DELIVERED, SHIPPED, Item, Order

    held = Order(order_id="1", status=SHIPPED, items=[Item(sku="a"), Item(sku="b")])
    held.total.units = 3
    part = Order(status=DELIVERED, items=[Item(sku="c")])
    got = MessageCodec(Order).merged(held, packed(part), ["items", "status", "total"])
    assert got == Order(order_id="1", status=DELIVERED, items=[Item(sku="c")])


def test_a_struct_that_is_no_json_is_of_the_wrong_type():
    broken = packed(struct_pb2.Struct())
    broken.value = b"\x0a\xff"
    infinite = struct_pb2.Struct()
    infinite.fields["a"].number_value = float("inf")
    for wrong in (broken, packed(infinite)):
        with pytest.raises(WatchrouteError) as caught:
            JsonCodec().decode(wrong)
        assert caught.value.reason == WRONG_TYPE
