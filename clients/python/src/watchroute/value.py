"""Values: what google.protobuf.Any carries, and what a program holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar

import grpc
from google.protobuf import any_pb2, json_format, struct_pb2
from google.protobuf.message import DecodeError, Message

from . import delta
from .errors import WRONG_TYPE, WatchrouteError
from .v1 import resource_pb2

T = TypeVar("T")
M = TypeVar("M", bound=Message)


class Codec(Protocol[T]):
    """Decodes the values of one type. Errors are WatchrouteError with WRONG_TYPE."""

    def decode(self, packed: any_pb2.Any) -> T:
        """Gives a value of its own."""

    def copy(self, value: T) -> T:
        """Gives a value that changes of the other do not reach."""

    def merged(self, held: T, packed: any_pb2.Any, paths: Iterable[str]) -> T:
        """Gives a new value: what `held` is after a delta."""


class MessageCodec(Generic[M]):
    """Values are messages of one type."""

    def __init__(self, message: type[M]) -> None:
        self._message = message
        self._name = message.DESCRIPTOR.full_name

    def decode(self, packed: any_pb2.Any) -> M:
        got = packed.type_url.rpartition("/")[2]
        if got != self._name:
            raise _wrong(f"the value is a {got or 'nothing'}, not a {self._name}")
        try:
            return self._message.FromString(packed.value)
        except DecodeError as e:
            raise _wrong(f"the value is not a {self._name} as this program knows it: {e}") from e

    def copy(self, value: M) -> M:
        other = self._message()
        other.CopyFrom(value)
        return other

    def merged(self, held: M, packed: any_pb2.Any, paths: Iterable[str]) -> M:
        value = self.copy(held)
        delta.merge_message(value, self.decode(packed) if packed.type_url else self._message(), paths)
        return value


class JsonCodec:
    """Values are JSON objects, as dicts. Integers are exact whatever their size; numbers with a
    fraction or an exponent are floats."""

    def decode(self, packed: any_pb2.Any) -> dict[str, Any]:
        got = packed.type_url.rpartition("/")[2]
        if got == "watchroute.v1.Json":
            try:
                value = _loads(resource_pb2.Json.FromString(packed.value).text)
            except (DecodeError, ValueError, RecursionError) as e:
                raise _wrong(f"the value is not JSON that can be read: {e}") from e
            if isinstance(value, dict):
                return value
            raise _wrong("the value is not a JSON object")
        if got == "google.protobuf.Struct":
            try:
                return json_format.MessageToDict(struct_pb2.Struct.FromString(packed.value))
            except (DecodeError, ValueError, json_format.Error, RecursionError) as e:
                raise _wrong(f"the value is not JSON that can be read: {e}") from e
        raise _wrong(f"the value is a {got or 'nothing'}, not JSON; give the type that is expected")

    def copy(self, value: dict[str, Any]) -> dict[str, Any]:
        return {key: _copy(v) for key, v in value.items()}

    def merged(self, held: dict[str, Any], packed: any_pb2.Any, paths: Iterable[str]) -> dict[str, Any]:
        value = self.copy(held)
        delta.merge_object(value, self.decode(packed) if packed.type_url else {}, paths)
        return value


def codec_of(message: type[Any] | None) -> Codec[Any]:
    """Gives the codec of a message type; None: JSON."""
    if message is None:
        return JsonCodec()
    return MessageCodec(message)


def encode(value: Message | dict[str, Any]) -> any_pb2.Any:
    """Packs a value to be written: a message of the collection's type, or a dict."""
    packed = any_pb2.Any()
    if isinstance(value, Message):
        packed.Pack(value)
    else:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        packed.Pack(resource_pb2.Json(text=text))
    return packed


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # more digits than int() takes at once
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 4300 else Decimal(digits))


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_copy(v) for v in value]
    return value


def _wrong(message: str) -> WatchrouteError:
    return WatchrouteError(grpc.StatusCode.FAILED_PRECONDITION, message, reason=WRONG_TYPE)
