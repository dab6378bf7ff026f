"""How an event with `updated_fields` changes the value that a reader holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message


def merge_object(held: dict[str, Any], part: dict[str, Any], paths: Iterable[str]) -> None:
    """Changes a JSON object: each path is set to what `part` has there, or else removed."""
    for path in paths:
        *parents, key = path.split(".")
        target, source = held, part
        for parent in parents:
            child = target.get(parent)
            if not isinstance(child, dict):
                child = target[parent] = {}
            target = child
            child = source.get(parent)
            source = child if isinstance(child, dict) else {}
        if key in source:
            target[key] = source[key]
        else:
            target.pop(key, None)


def merge_message(held: Message, part: Message, paths: Iterable[str]) -> None:
    """Changes a message: each path is cleared, and then set to what `part` has there.

    A path that the message does not know is left out: its program could not see it either.
    """
    found = []
    for path in paths:
        *parents, name = path.split(".")
        target, source = held, part
        for parent in parents:
            if not isinstance(getattr(target, parent, None), Message):
                break
            target, source = getattr(target, parent), getattr(source, parent)
        else:
            if name in target.DESCRIPTOR.fields_by_name:
                target.ClearField(name)
                found.append((target, source, name))
    # Only now: clearing a path must not undo another one of the same oneof.
    for target, source, name in found:
        if _has(source, name):
            _copy(target, source, name)


def _has(message: Message, name: str) -> bool:
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.has_presence:
        return message.HasField(name)
    return True  # a default that is copied is a field that is cleared


def _copy(target: Message, source: Message, name: str) -> None:
    value = getattr(source, name)
    if isinstance(value, Message):
        getattr(target, name).CopyFrom(value)
    elif hasattr(value, "MergeFrom"):  # a list or a map
        getattr(target, name).MergeFrom(value)
    else:
        setattr(target, name, value)
