import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from watchroute.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CollectionAccess(_message.Message):
    __slots__ = ("collection", "rules", "anonymous", "watch_route", "redactions", "projections")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_FIELD_NUMBER: _ClassVar[int]
    WATCH_ROUTE_FIELD_NUMBER: _ClassVar[int]
    REDACTIONS_FIELD_NUMBER: _ClassVar[int]
    PROJECTIONS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    rules: AccessRules
    anonymous: bool
    watch_route: WatchRoute
    redactions: _containers.RepeatedCompositeFieldContainer[Redaction]
    projections: _containers.RepeatedCompositeFieldContainer[Projection]
    def __init__(self, collection: _Optional[str] = ..., rules: _Optional[_Union[AccessRules, _Mapping]] = ..., anonymous: bool = ..., watch_route: _Optional[_Union[WatchRoute, _Mapping]] = ..., redactions: _Optional[_Iterable[_Union[Redaction, _Mapping]]] = ..., projections: _Optional[_Iterable[_Union[Projection, _Mapping]]] = ...) -> None: ...

class Projection(_message.Message):
    __slots__ = ("version", "fields")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    version: str
    fields: _containers.ScalarMap[str, str]
    def __init__(self, version: _Optional[str] = ..., fields: _Optional[_Mapping[str, str]] = ...) -> None: ...

class AccessRules(_message.Message):
    __slots__ = ("get", "list", "watch", "write", "delete")
    GET_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    WRITE_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    get: str
    list: str
    watch: str
    write: str
    delete: str
    def __init__(self, get: _Optional[str] = ..., list: _Optional[str] = ..., watch: _Optional[str] = ..., write: _Optional[str] = ..., delete: _Optional[str] = ...) -> None: ...

class WatchRoute(_message.Message):
    __slots__ = ("off", "transports", "approval")
    OFF_FIELD_NUMBER: _ClassVar[int]
    TRANSPORTS_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    off: bool
    transports: _containers.RepeatedScalarFieldContainer[str]
    approval: bool
    def __init__(self, off: bool = ..., transports: _Optional[_Iterable[str]] = ..., approval: bool = ...) -> None: ...

class Redaction(_message.Message):
    __slots__ = ("fields", "unless", "mask")
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    UNLESS_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    fields: _field_mask_pb2.FieldMask
    unless: str
    mask: str
    def __init__(self, fields: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., unless: _Optional[str] = ..., mask: _Optional[str] = ...) -> None: ...

class ApiKey(_message.Message):
    __slots__ = ("key_id", "hash", "tenant", "subject", "roles", "scopes", "operator", "expire_time", "last_used_time", "note")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_TIME_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    hash: str
    tenant: str
    subject: str
    roles: _containers.RepeatedScalarFieldContainer[str]
    scopes: _containers.RepeatedScalarFieldContainer[str]
    operator: bool
    expire_time: _timestamp_pb2.Timestamp
    last_used_time: _timestamp_pb2.Timestamp
    note: str
    def __init__(self, key_id: _Optional[str] = ..., hash: _Optional[str] = ..., tenant: _Optional[str] = ..., subject: _Optional[str] = ..., roles: _Optional[_Iterable[str]] = ..., scopes: _Optional[_Iterable[str]] = ..., operator: bool = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_used_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., note: _Optional[str] = ...) -> None: ...

class Revocation(_message.Message):
    __slots__ = ("revocation_id", "token_id", "key_id", "subject", "address", "whole_tenant", "tenant", "issued_before", "note")
    REVOCATION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    WHOLE_TENANT_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    ISSUED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    revocation_id: str
    token_id: str
    key_id: str
    subject: str
    address: str
    whole_tenant: bool
    tenant: str
    issued_before: _timestamp_pb2.Timestamp
    note: str
    def __init__(self, revocation_id: _Optional[str] = ..., token_id: _Optional[str] = ..., key_id: _Optional[str] = ..., subject: _Optional[str] = ..., address: _Optional[str] = ..., whole_tenant: bool = ..., tenant: _Optional[str] = ..., issued_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., note: _Optional[str] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("grant_id", "collection", "tenant", "subject", "state", "expire_time", "note", "decided_by")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Grant.State]
        REQUESTED: _ClassVar[Grant.State]
        APPROVED: _ClassVar[Grant.State]
        REFUSED: _ClassVar[Grant.State]
    STATE_UNSPECIFIED: Grant.State
    REQUESTED: Grant.State
    APPROVED: Grant.State
    REFUSED: Grant.State
    GRANT_ID_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    grant_id: str
    collection: str
    tenant: str
    subject: str
    state: Grant.State
    expire_time: _timestamp_pb2.Timestamp
    note: str
    decided_by: str
    def __init__(self, grant_id: _Optional[str] = ..., collection: _Optional[str] = ..., tenant: _Optional[str] = ..., subject: _Optional[str] = ..., state: _Optional[_Union[Grant.State, str]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., note: _Optional[str] = ..., decided_by: _Optional[str] = ...) -> None: ...
