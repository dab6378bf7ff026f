import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from watchroute.v1 import resource_pb2 as _resource_pb2
from watchroute.v1 import watch_pb2 as _watch_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetRequest(_message.Message):
    __slots__ = ("name", "min_revision", "projection")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    min_revision: int
    projection: str
    def __init__(self, name: _Optional[str] = ..., min_revision: _Optional[int] = ..., projection: _Optional[str] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "filter", "min_revision", "projection")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    filter: str
    min_revision: int
    projection: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ..., min_revision: _Optional[int] = ..., projection: _Optional[str] = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("resources", "next_page_token", "revision", "resume_token")
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    resources: _containers.RepeatedCompositeFieldContainer[_resource_pb2.Resource]
    next_page_token: str
    revision: int
    resume_token: str
    def __init__(self, resources: _Optional[_Iterable[_Union[_resource_pb2.Resource, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., revision: _Optional[int] = ..., resume_token: _Optional[str] = ...) -> None: ...

class Precondition(_message.Message):
    __slots__ = ("must_not_exist", "revision", "etag")
    MUST_NOT_EXIST_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    must_not_exist: bool
    revision: int
    etag: str
    def __init__(self, must_not_exist: bool = ..., revision: _Optional[int] = ..., etag: _Optional[str] = ...) -> None: ...

class PutRequest(_message.Message):
    __slots__ = ("resource", "precondition", "request_id")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PRECONDITION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    resource: _resource_pb2.Resource
    precondition: Precondition
    request_id: str
    def __init__(self, resource: _Optional[_Union[_resource_pb2.Resource, _Mapping]] = ..., precondition: _Optional[_Union[Precondition, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("name", "precondition", "request_id", "allow_missing")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PRECONDITION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ALLOW_MISSING_FIELD_NUMBER: _ClassVar[int]
    name: str
    precondition: Precondition
    request_id: str
    allow_missing: bool
    def __init__(self, name: _Optional[str] = ..., precondition: _Optional[_Union[Precondition, _Mapping]] = ..., request_id: _Optional[str] = ..., allow_missing: bool = ...) -> None: ...

class WriteResponse(_message.Message):
    __slots__ = ("revision", "resource", "changed")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    revision: int
    resource: _resource_pb2.Resource
    changed: bool
    def __init__(self, revision: _Optional[int] = ..., resource: _Optional[_Union[_resource_pb2.Resource, _Mapping]] = ..., changed: bool = ...) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("parent", "operations", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("put", "delete", "precondition")
    PUT_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    PRECONDITION_FIELD_NUMBER: _ClassVar[int]
    put: _resource_pb2.Resource
    delete: str
    precondition: Precondition
    def __init__(self, put: _Optional[_Union[_resource_pb2.Resource, _Mapping]] = ..., delete: _Optional[str] = ..., precondition: _Optional[_Union[Precondition, _Mapping]] = ...) -> None: ...

class WriteBatchResponse(_message.Message):
    __slots__ = ("revision", "results", "write_time")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    WRITE_TIME_FIELD_NUMBER: _ClassVar[int]
    revision: int
    results: _containers.RepeatedCompositeFieldContainer[WriteResponse]
    write_time: _timestamp_pb2.Timestamp
    def __init__(self, revision: _Optional[int] = ..., results: _Optional[_Iterable[_Union[WriteResponse, _Mapping]]] = ..., write_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
