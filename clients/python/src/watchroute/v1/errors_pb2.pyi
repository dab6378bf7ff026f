from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    INVALID_NAME: _ClassVar[ErrorReason]
    INVALID_FIELD: _ClassVar[ErrorReason]
    INVALID_FILTER: _ClassVar[ErrorReason]
    INVALID_MASK: _ClassVar[ErrorReason]
    INVALID_TOKEN: _ClassVar[ErrorReason]
    INVALID_VALUE: _ClassVar[ErrorReason]
    TOO_LARGE: _ClassVar[ErrorReason]
    COLLECTION_NOT_FOUND: _ClassVar[ErrorReason]
    RESOURCE_NOT_FOUND: _ClassVar[ErrorReason]
    PRECONDITION_FAILED: _ClassVar[ErrorReason]
    REQUEST_ID_REUSED: _ClassVar[ErrorReason]
    COMPACTED: _ClassVar[ErrorReason]
    EPOCH_CHANGED: _ClassVar[ErrorReason]
    SCOPE_CHANGED: _ClassVar[ErrorReason]
    FUTURE_REVISION: _ClassVar[ErrorReason]
    REVISION_NOT_REACHED: _ClassVar[ErrorReason]
    DRAINING: _ClassVar[ErrorReason]
    STORE_UNAVAILABLE: _ClassVar[ErrorReason]
    ROUTE_NOT_FOUND: _ClassVar[ErrorReason]
    UNSUPPORTED: _ClassVar[ErrorReason]
    INVALID_WATCH_ID: _ClassVar[ErrorReason]
    LIMIT_REACHED: _ClassVar[ErrorReason]
    CANCELLED: _ClassVar[ErrorReason]
    DEADLINE_EXCEEDED: _ClassVar[ErrorReason]
    INTERNAL: _ClassVar[ErrorReason]
    SLOW_READER: _ClassVar[ErrorReason]
    CREDENTIAL_MISSING: _ClassVar[ErrorReason]
    CREDENTIAL_INVALID: _ClassVar[ErrorReason]
    CREDENTIAL_EXPIRED: _ClassVar[ErrorReason]
    CREDENTIAL_REVOKED: _ClassVar[ErrorReason]
    PERMISSION_DENIED: _ClassVar[ErrorReason]
    APPROVAL_REQUIRED: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
INVALID_NAME: ErrorReason
INVALID_FIELD: ErrorReason
INVALID_FILTER: ErrorReason
INVALID_MASK: ErrorReason
INVALID_TOKEN: ErrorReason
INVALID_VALUE: ErrorReason
TOO_LARGE: ErrorReason
COLLECTION_NOT_FOUND: ErrorReason
RESOURCE_NOT_FOUND: ErrorReason
PRECONDITION_FAILED: ErrorReason
REQUEST_ID_REUSED: ErrorReason
COMPACTED: ErrorReason
EPOCH_CHANGED: ErrorReason
SCOPE_CHANGED: ErrorReason
FUTURE_REVISION: ErrorReason
REVISION_NOT_REACHED: ErrorReason
DRAINING: ErrorReason
STORE_UNAVAILABLE: ErrorReason
ROUTE_NOT_FOUND: ErrorReason
UNSUPPORTED: ErrorReason
INVALID_WATCH_ID: ErrorReason
LIMIT_REACHED: ErrorReason
CANCELLED: ErrorReason
DEADLINE_EXCEEDED: ErrorReason
INTERNAL: ErrorReason
SLOW_READER: ErrorReason
CREDENTIAL_MISSING: ErrorReason
CREDENTIAL_INVALID: ErrorReason
CREDENTIAL_EXPIRED: ErrorReason
CREDENTIAL_REVOKED: ErrorReason
PERMISSION_DENIED: ErrorReason
APPROVAL_REQUIRED: ErrorReason
