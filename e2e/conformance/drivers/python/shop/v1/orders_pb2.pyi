import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from watchroute.v1 import options_pb2 as _options_pb2
from watchroute.v1 import resource_pb2 as _resource_pb2
from watchroute.v1 import service_pb2 as _service_pb2
from watchroute.v1 import watch_pb2 as _watch_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_STATUS_UNSPECIFIED: _ClassVar[OrderStatus]
    PENDING: _ClassVar[OrderStatus]
    PROCESSING: _ClassVar[OrderStatus]
    SHIPPED: _ClassVar[OrderStatus]
    OUT_FOR_DELIVERY: _ClassVar[OrderStatus]
    DELIVERED: _ClassVar[OrderStatus]
    CANCELLED: _ClassVar[OrderStatus]
ORDER_STATUS_UNSPECIFIED: OrderStatus
PENDING: OrderStatus
PROCESSING: OrderStatus
SHIPPED: OrderStatus
OUT_FOR_DELIVERY: OrderStatus
DELIVERED: OrderStatus
CANCELLED: OrderStatus

class Order(_message.Message):
    __slots__ = ("order_id", "customer_id", "status", "items", "total", "location", "place_time", "status_time")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    PLACE_TIME_FIELD_NUMBER: _ClassVar[int]
    STATUS_TIME_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    customer_id: str
    status: OrderStatus
    items: _containers.RepeatedCompositeFieldContainer[Item]
    total: Money
    location: Location
    place_time: _timestamp_pb2.Timestamp
    status_time: _timestamp_pb2.Timestamp
    def __init__(self, order_id: _Optional[str] = ..., customer_id: _Optional[str] = ..., status: _Optional[_Union[OrderStatus, str]] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., total: _Optional[_Union[Money, _Mapping]] = ..., location: _Optional[_Union[Location, _Mapping]] = ..., place_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., status_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("sku", "quantity", "price")
    SKU_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    sku: str
    quantity: int
    price: Money
    def __init__(self, sku: _Optional[str] = ..., quantity: _Optional[int] = ..., price: _Optional[_Union[Money, _Mapping]] = ...) -> None: ...

class Money(_message.Message):
    __slots__ = ("currency_code", "units", "nanos")
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    NANOS_FIELD_NUMBER: _ClassVar[int]
    currency_code: str
    units: int
    nanos: int
    def __init__(self, currency_code: _Optional[str] = ..., units: _Optional[int] = ..., nanos: _Optional[int] = ...) -> None: ...

class Location(_message.Message):
    __slots__ = ("latitude", "longitude", "description")
    LATITUDE_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    latitude: float
    longitude: float
    description: str
    def __init__(self, latitude: _Optional[float] = ..., longitude: _Optional[float] = ..., description: _Optional[str] = ...) -> None: ...

class OrderResource(_message.Message):
    __slots__ = ("name", "uid", "revision", "create_revision", "etag", "labels", "create_time", "update_time", "data")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    revision: int
    create_revision: int
    etag: str
    labels: _containers.ScalarMap[str, str]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    data: Order
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., revision: _Optional[int] = ..., create_revision: _Optional[int] = ..., etag: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., data: _Optional[_Union[Order, _Mapping]] = ...) -> None: ...

class GetOrderRequest(_message.Message):
    __slots__ = ("order_id", "min_revision")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    min_revision: int
    def __init__(self, order_id: _Optional[str] = ..., min_revision: _Optional[int] = ...) -> None: ...

class ListOrdersRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter", "min_revision")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    min_revision: int
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ..., min_revision: _Optional[int] = ...) -> None: ...

class ListOrdersResponse(_message.Message):
    __slots__ = ("resources", "next_page_token", "revision", "resume_token")
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    resources: _containers.RepeatedCompositeFieldContainer[OrderResource]
    next_page_token: str
    revision: int
    resume_token: str
    def __init__(self, resources: _Optional[_Iterable[_Union[OrderResource, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., revision: _Optional[int] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchOrderRequest(_message.Message):
    __slots__ = ("order_id", "read_mask", "resume_token", "after_revision", "min_revision", "delivery", "min_interval", "heartbeat", "delta", "on_expired")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
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
    order_id: str
    read_mask: _field_mask_pb2.FieldMask
    resume_token: str
    after_revision: int
    min_revision: int
    delivery: _watch_pb2.Delivery
    min_interval: _duration_pb2.Duration
    heartbeat: _duration_pb2.Duration
    delta: bool
    on_expired: _watch_pb2.OnExpired
    def __init__(self, order_id: _Optional[str] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., resume_token: _Optional[str] = ..., after_revision: _Optional[int] = ..., min_revision: _Optional[int] = ..., delivery: _Optional[_Union[_watch_pb2.Delivery, str]] = ..., min_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., heartbeat: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., delta: bool = ..., on_expired: _Optional[_Union[_watch_pb2.OnExpired, str]] = ..., **kwargs) -> None: ...

class WatchOrdersRequest(_message.Message):
    __slots__ = ("filter", "read_mask", "resume_token", "after_revision", "min_revision", "delivery", "min_interval", "heartbeat", "delta", "on_expired")
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
    filter: str
    read_mask: _field_mask_pb2.FieldMask
    resume_token: str
    after_revision: int
    min_revision: int
    delivery: _watch_pb2.Delivery
    min_interval: _duration_pb2.Duration
    heartbeat: _duration_pb2.Duration
    delta: bool
    on_expired: _watch_pb2.OnExpired
    def __init__(self, filter: _Optional[str] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., resume_token: _Optional[str] = ..., after_revision: _Optional[int] = ..., min_revision: _Optional[int] = ..., delivery: _Optional[_Union[_watch_pb2.Delivery, str]] = ..., min_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., heartbeat: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., delta: bool = ..., on_expired: _Optional[_Union[_watch_pb2.OnExpired, str]] = ..., **kwargs) -> None: ...

class WatchOrdersResponse(_message.Message):
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
    started: _watch_pb2.Started
    events: OrderEventBatch
    snapshot_end: _watch_pb2.SnapshotEnd
    bookmark: _watch_pb2.Bookmark
    reset: _watch_pb2.Reset
    drain: _watch_pb2.Drain
    closed: _status_pb2.Status
    def __init__(self, revision: _Optional[int] = ..., resume_token: _Optional[str] = ..., started: _Optional[_Union[_watch_pb2.Started, _Mapping]] = ..., events: _Optional[_Union[OrderEventBatch, _Mapping]] = ..., snapshot_end: _Optional[_Union[_watch_pb2.SnapshotEnd, _Mapping]] = ..., bookmark: _Optional[_Union[_watch_pb2.Bookmark, _Mapping]] = ..., reset: _Optional[_Union[_watch_pb2.Reset, _Mapping]] = ..., drain: _Optional[_Union[_watch_pb2.Drain, _Mapping]] = ..., closed: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class OrderEventBatch(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[OrderEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[OrderEvent, _Mapping]]] = ...) -> None: ...

class OrderEvent(_message.Message):
    __slots__ = ("state", "cause", "resource", "updated_fields", "base_revision", "coalesced")
    STATE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELDS_FIELD_NUMBER: _ClassVar[int]
    BASE_REVISION_FIELD_NUMBER: _ClassVar[int]
    COALESCED_FIELD_NUMBER: _ClassVar[int]
    state: _resource_pb2.State
    cause: _resource_pb2.Cause
    resource: OrderResource
    updated_fields: _field_mask_pb2.FieldMask
    base_revision: int
    coalesced: int
    def __init__(self, state: _Optional[_Union[_resource_pb2.State, str]] = ..., cause: _Optional[_Union[_resource_pb2.Cause, str]] = ..., resource: _Optional[_Union[OrderResource, _Mapping]] = ..., updated_fields: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., base_revision: _Optional[int] = ..., coalesced: _Optional[int] = ...) -> None: ...

class PutOrderRequest(_message.Message):
    __slots__ = ("order_id", "resource", "precondition", "request_id")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PRECONDITION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    resource: OrderResource
    precondition: _service_pb2.Precondition
    request_id: str
    def __init__(self, order_id: _Optional[str] = ..., resource: _Optional[_Union[OrderResource, _Mapping]] = ..., precondition: _Optional[_Union[_service_pb2.Precondition, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class PutOrderResponse(_message.Message):
    __slots__ = ("revision", "resource", "changed")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    revision: int
    resource: OrderResource
    changed: bool
    def __init__(self, revision: _Optional[int] = ..., resource: _Optional[_Union[OrderResource, _Mapping]] = ..., changed: bool = ...) -> None: ...

class DeleteOrderRequest(_message.Message):
    __slots__ = ("order_id", "precondition", "request_id", "allow_missing")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PRECONDITION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ALLOW_MISSING_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    precondition: _service_pb2.Precondition
    request_id: str
    allow_missing: bool
    def __init__(self, order_id: _Optional[str] = ..., precondition: _Optional[_Union[_service_pb2.Precondition, _Mapping]] = ..., request_id: _Optional[str] = ..., allow_missing: bool = ...) -> None: ...

class DeleteOrderResponse(_message.Message):
    __slots__ = ("revision", "resource", "changed")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    revision: int
    resource: OrderResource
    changed: bool
    def __init__(self, revision: _Optional[int] = ..., resource: _Optional[_Union[OrderResource, _Mapping]] = ..., changed: bool = ...) -> None: ...
