import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from watchroute.v1 import resource_pb2 as _resource_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Delivery(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_UNSPECIFIED: _ClassVar[Delivery]
    LATEST: _ClassVar[Delivery]
    EVERY_CHANGE: _ClassVar[Delivery]

class Start(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    START_UNSPECIFIED: _ClassVar[Start]
    SNAPSHOT: _ClassVar[Start]
    NOW: _ClassVar[Start]

class OnExpired(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_EXPIRED_UNSPECIFIED: _ClassVar[OnExpired]
    RESET: _ClassVar[OnExpired]
    FAIL: _ClassVar[OnExpired]
DELIVERY_UNSPECIFIED: Delivery
LATEST: Delivery
EVERY_CHANGE: Delivery
START_UNSPECIFIED: Start
SNAPSHOT: Start
NOW: Start
ON_EXPIRED_UNSPECIFIED: OnExpired
RESET: OnExpired
FAIL: OnExpired

class WatchRequest(_message.Message):
    __slots__ = ("parent", "names", "filter", "read_mask", "resume_token", "after_revision", "min_revision", "delivery", "min_interval", "heartbeat", "delta", "on_expired", "projection")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AFTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    MIN_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    ON_EXPIRED_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    parent: str
    names: _containers.RepeatedScalarFieldContainer[str]
    filter: str
    read_mask: _field_mask_pb2.FieldMask
    resume_token: str
    after_revision: int
    min_revision: int
    delivery: Delivery
    min_interval: _duration_pb2.Duration
    heartbeat: _duration_pb2.Duration
    delta: bool
    on_expired: OnExpired
    projection: str
    def __init__(self, parent: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., filter: _Optional[str] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., resume_token: _Optional[str] = ..., after_revision: _Optional[int] = ..., min_revision: _Optional[int] = ..., delivery: _Optional[_Union[Delivery, str]] = ..., min_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., heartbeat: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., delta: bool = ..., on_expired: _Optional[_Union[OnExpired, str]] = ..., projection: _Optional[str] = ..., **kwargs) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("revision", "resume_token", "started", "events", "snapshot_end", "bookmark", "reset", "drain", "closed")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_END_FIELD_NUMBER: _ClassVar[int]
    BOOKMARK_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    revision: int
    resume_token: str
    started: Started
    events: EventBatch
    snapshot_end: SnapshotEnd
    bookmark: Bookmark
    reset: Reset
    drain: Drain
    closed: _status_pb2.Status
    def __init__(self, revision: _Optional[int] = ..., resume_token: _Optional[str] = ..., started: _Optional[_Union[Started, _Mapping]] = ..., events: _Optional[_Union[EventBatch, _Mapping]] = ..., snapshot_end: _Optional[_Union[SnapshotEnd, _Mapping]] = ..., bookmark: _Optional[_Union[Bookmark, _Mapping]] = ..., reset: _Optional[_Union[Reset, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., closed: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("mode", "silence_limit")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[Started.Mode]
        SNAPSHOT: _ClassVar[Started.Mode]
        RESUMED: _ClassVar[Started.Mode]
        NOW: _ClassVar[Started.Mode]
    MODE_UNSPECIFIED: Started.Mode
    SNAPSHOT: Started.Mode
    RESUMED: Started.Mode
    NOW: Started.Mode
    MODE_FIELD_NUMBER: _ClassVar[int]
    SILENCE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    mode: Started.Mode
    silence_limit: _duration_pb2.Duration
    def __init__(self, mode: _Optional[_Union[Started.Mode, str]] = ..., silence_limit: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class EventBatch(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("state", "cause", "resource", "updated_fields", "base_revision", "coalesced")
    STATE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELDS_FIELD_NUMBER: _ClassVar[int]
    BASE_REVISION_FIELD_NUMBER: _ClassVar[int]
    COALESCED_FIELD_NUMBER: _ClassVar[int]
    state: _resource_pb2.State
    cause: _resource_pb2.Cause
    resource: _resource_pb2.Resource
    updated_fields: _field_mask_pb2.FieldMask
    base_revision: int
    coalesced: int
    def __init__(self, state: _Optional[_Union[_resource_pb2.State, str]] = ..., cause: _Optional[_Union[_resource_pb2.Cause, str]] = ..., resource: _Optional[_Union[_resource_pb2.Resource, _Mapping]] = ..., updated_fields: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., base_revision: _Optional[int] = ..., coalesced: _Optional[int] = ...) -> None: ...

class SnapshotEnd(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Bookmark(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Reset(_message.Message):
    __slots__ = ("reason",)
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Reset.Reason]
        COMPACTED: _ClassVar[Reset.Reason]
        SCOPE: _ClassVar[Reset.Reason]
        EPOCH: _ClassVar[Reset.Reason]
        ACCESS: _ClassVar[Reset.Reason]
    REASON_UNSPECIFIED: Reset.Reason
    COMPACTED: Reset.Reason
    SCOPE: Reset.Reason
    EPOCH: Reset.Reason
    ACCESS: Reset.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: Reset.Reason
    def __init__(self, reason: _Optional[_Union[Reset.Reason, str]] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("reconnect_after",)
    RECONNECT_AFTER_FIELD_NUMBER: _ClassVar[int]
    reconnect_after: _duration_pb2.Duration
    def __init__(self, reconnect_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SessionRequest(_message.Message):
    __slots__ = ("open", "cancel", "fence", "credit", "authenticate")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATE_FIELD_NUMBER: _ClassVar[int]
    open: OpenWatch
    cancel: CancelWatch
    fence: Fence
    credit: Credit
    authenticate: Authenticate
    def __init__(self, open: _Optional[_Union[OpenWatch, _Mapping]] = ..., cancel: _Optional[_Union[CancelWatch, _Mapping]] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ..., authenticate: _Optional[_Union[Authenticate, _Mapping]] = ...) -> None: ...

class Authenticate(_message.Message):
    __slots__ = ("credential",)
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    credential: str
    def __init__(self, credential: _Optional[str] = ...) -> None: ...

class Authenticated(_message.Message):
    __slots__ = ("expire_time",)
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class OpenWatch(_message.Message):
    __slots__ = ("watch_id", "watch", "credit")
    WATCH_ID_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    watch_id: str
    watch: WatchRequest
    credit: int
    def __init__(self, watch_id: _Optional[str] = ..., watch: _Optional[_Union[WatchRequest, _Mapping]] = ..., credit: _Optional[int] = ...) -> None: ...

class CancelWatch(_message.Message):
    __slots__ = ("watch_id",)
    WATCH_ID_FIELD_NUMBER: _ClassVar[int]
    watch_id: str
    def __init__(self, watch_id: _Optional[str] = ...) -> None: ...

class Fence(_message.Message):
    __slots__ = ("fence_id",)
    FENCE_ID_FIELD_NUMBER: _ClassVar[int]
    fence_id: str
    def __init__(self, fence_id: _Optional[str] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("watch_id", "events")
    WATCH_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    watch_id: str
    events: int
    def __init__(self, watch_id: _Optional[str] = ..., events: _Optional[int] = ...) -> None: ...

class SessionResponse(_message.Message):
    __slots__ = ("watch_id", "watch", "closed", "fence", "authenticated", "also_watch_ids", "more")
    WATCH_ID_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATED_FIELD_NUMBER: _ClassVar[int]
    ALSO_WATCH_IDS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    watch_id: str
    watch: WatchResponse
    closed: _status_pb2.Status
    fence: Fence
    authenticated: Authenticated
    also_watch_ids: _containers.RepeatedScalarFieldContainer[str]
    more: _containers.RepeatedCompositeFieldContainer[SessionResponse]
    def __init__(self, watch_id: _Optional[str] = ..., watch: _Optional[_Union[WatchResponse, _Mapping]] = ..., closed: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ..., authenticated: _Optional[_Union[Authenticated, _Mapping]] = ..., also_watch_ids: _Optional[_Iterable[str]] = ..., more: _Optional[_Iterable[_Union[SessionResponse, _Mapping]]] = ...) -> None: ...
