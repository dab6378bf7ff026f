import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from watchroute.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SourceStart(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_START_UNSPECIFIED: _ClassVar[SourceStart]
    EARLIEST: _ClassVar[SourceStart]
    LATEST_EVENT: _ClassVar[SourceStart]
SOURCE_START_UNSPECIFIED: SourceStart
EARLIEST: SourceStart
LATEST_EVENT: SourceStart

class Source(_message.Message):
    __slots__ = ("source_id", "tenant", "paused", "decoding", "mappings", "note", "kafka", "nats", "rabbitmq", "redis", "postgres", "webhook", "mqtt")
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    DECODING_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    KAFKA_FIELD_NUMBER: _ClassVar[int]
    NATS_FIELD_NUMBER: _ClassVar[int]
    RABBITMQ_FIELD_NUMBER: _ClassVar[int]
    REDIS_FIELD_NUMBER: _ClassVar[int]
    POSTGRES_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_FIELD_NUMBER: _ClassVar[int]
    MQTT_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    tenant: str
    paused: bool
    decoding: Decoding
    mappings: _containers.RepeatedCompositeFieldContainer[Mapping]
    note: str
    kafka: KafkaSource
    nats: NatsSource
    rabbitmq: RabbitmqSource
    redis: RedisSource
    postgres: PostgresSource
    webhook: WebhookSource
    mqtt: MqttSource
    def __init__(self, source_id: _Optional[str] = ..., tenant: _Optional[str] = ..., paused: bool = ..., decoding: _Optional[_Union[Decoding, _Mapping]] = ..., mappings: _Optional[_Iterable[_Union[Mapping, _Mapping]]] = ..., note: _Optional[str] = ..., kafka: _Optional[_Union[KafkaSource, _Mapping]] = ..., nats: _Optional[_Union[NatsSource, _Mapping]] = ..., rabbitmq: _Optional[_Union[RabbitmqSource, _Mapping]] = ..., redis: _Optional[_Union[RedisSource, _Mapping]] = ..., postgres: _Optional[_Union[PostgresSource, _Mapping]] = ..., webhook: _Optional[_Union[WebhookSource, _Mapping]] = ..., mqtt: _Optional[_Union[MqttSource, _Mapping]] = ...) -> None: ...

class Decoding(_message.Message):
    __slots__ = ("format", "message")
    class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FORMAT_UNSPECIFIED: _ClassVar[Decoding.Format]
        JSON: _ClassVar[Decoding.Format]
        PROTOBUF: _ClassVar[Decoding.Format]
        CLOUDEVENTS: _ClassVar[Decoding.Format]
        TEXT: _ClassVar[Decoding.Format]
        BYTES: _ClassVar[Decoding.Format]
    FORMAT_UNSPECIFIED: Decoding.Format
    JSON: Decoding.Format
    PROTOBUF: Decoding.Format
    CLOUDEVENTS: Decoding.Format
    TEXT: Decoding.Format
    BYTES: Decoding.Format
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    format: Decoding.Format
    message: str
    def __init__(self, format: _Optional[_Union[Decoding.Format, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Mapping(_message.Message):
    __slots__ = ("when", "collection", "for_each", "id", "put", "merge", "delete", "labels", "event_time", "order")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WHEN_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FOR_EACH_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PUT_FIELD_NUMBER: _ClassVar[int]
    MERGE_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    when: str
    collection: str
    for_each: str
    id: str
    put: str
    merge: str
    delete: str
    labels: _containers.ScalarMap[str, str]
    event_time: str
    order: str
    def __init__(self, when: _Optional[str] = ..., collection: _Optional[str] = ..., for_each: _Optional[str] = ..., id: _Optional[str] = ..., put: _Optional[str] = ..., merge: _Optional[str] = ..., delete: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., event_time: _Optional[str] = ..., order: _Optional[str] = ...) -> None: ...

class Secret(_message.Message):
    __slots__ = ("file", "env")
    FILE_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    file: str
    env: str
    def __init__(self, file: _Optional[str] = ..., env: _Optional[str] = ...) -> None: ...

class ClientTls(_message.Message):
    __slots__ = ("enabled", "ca_file", "cert_file", "key_file", "server_name")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    CA_FILE_FIELD_NUMBER: _ClassVar[int]
    CERT_FILE_FIELD_NUMBER: _ClassVar[int]
    KEY_FILE_FIELD_NUMBER: _ClassVar[int]
    SERVER_NAME_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    ca_file: str
    cert_file: str
    key_file: str
    server_name: str
    def __init__(self, enabled: bool = ..., ca_file: _Optional[str] = ..., cert_file: _Optional[str] = ..., key_file: _Optional[str] = ..., server_name: _Optional[str] = ...) -> None: ...

class Login(_message.Message):
    __slots__ = ("username", "password")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    username: str
    password: Secret
    def __init__(self, username: _Optional[str] = ..., password: _Optional[_Union[Secret, _Mapping]] = ...) -> None: ...

class KafkaSource(_message.Message):
    __slots__ = ("brokers", "topics", "group", "start", "tls", "sasl", "login")
    class Sasl(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SASL_UNSPECIFIED: _ClassVar[KafkaSource.Sasl]
        PLAIN: _ClassVar[KafkaSource.Sasl]
        SCRAM_SHA_256: _ClassVar[KafkaSource.Sasl]
        SCRAM_SHA_512: _ClassVar[KafkaSource.Sasl]
    SASL_UNSPECIFIED: KafkaSource.Sasl
    PLAIN: KafkaSource.Sasl
    SCRAM_SHA_256: KafkaSource.Sasl
    SCRAM_SHA_512: KafkaSource.Sasl
    BROKERS_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    SASL_FIELD_NUMBER: _ClassVar[int]
    LOGIN_FIELD_NUMBER: _ClassVar[int]
    brokers: _containers.RepeatedScalarFieldContainer[str]
    topics: _containers.RepeatedScalarFieldContainer[str]
    group: str
    start: SourceStart
    tls: ClientTls
    sasl: KafkaSource.Sasl
    login: Login
    def __init__(self, brokers: _Optional[_Iterable[str]] = ..., topics: _Optional[_Iterable[str]] = ..., group: _Optional[str] = ..., start: _Optional[_Union[SourceStart, str]] = ..., tls: _Optional[_Union[ClientTls, _Mapping]] = ..., sasl: _Optional[_Union[KafkaSource.Sasl, str]] = ..., login: _Optional[_Union[Login, _Mapping]] = ...) -> None: ...

class NatsSource(_message.Message):
    __slots__ = ("servers", "stream", "subjects", "start", "tls", "login", "token", "credentials_file")
    SERVERS_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    LOGIN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FILE_FIELD_NUMBER: _ClassVar[int]
    servers: _containers.RepeatedScalarFieldContainer[str]
    stream: str
    subjects: _containers.RepeatedScalarFieldContainer[str]
    start: SourceStart
    tls: ClientTls
    login: Login
    token: Secret
    credentials_file: str
    def __init__(self, servers: _Optional[_Iterable[str]] = ..., stream: _Optional[str] = ..., subjects: _Optional[_Iterable[str]] = ..., start: _Optional[_Union[SourceStart, str]] = ..., tls: _Optional[_Union[ClientTls, _Mapping]] = ..., login: _Optional[_Union[Login, _Mapping]] = ..., token: _Optional[_Union[Secret, _Mapping]] = ..., credentials_file: _Optional[str] = ...) -> None: ...

class RabbitmqSource(_message.Message):
    __slots__ = ("url", "login", "queue", "stream", "prefetch", "start", "tls")
    URL_FIELD_NUMBER: _ClassVar[int]
    LOGIN_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PREFETCH_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    url: str
    login: Login
    queue: str
    stream: str
    prefetch: int
    start: SourceStart
    tls: ClientTls
    def __init__(self, url: _Optional[str] = ..., login: _Optional[_Union[Login, _Mapping]] = ..., queue: _Optional[str] = ..., stream: _Optional[str] = ..., prefetch: _Optional[int] = ..., start: _Optional[_Union[SourceStart, str]] = ..., tls: _Optional[_Union[ClientTls, _Mapping]] = ...) -> None: ...

class RedisSource(_message.Message):
    __slots__ = ("address", "database", "streams", "field", "start", "login", "tls")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    LOGIN_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    address: str
    database: int
    streams: _containers.RepeatedScalarFieldContainer[str]
    field: str
    start: SourceStart
    login: Login
    tls: ClientTls
    def __init__(self, address: _Optional[str] = ..., database: _Optional[int] = ..., streams: _Optional[_Iterable[str]] = ..., field: _Optional[str] = ..., start: _Optional[_Union[SourceStart, str]] = ..., login: _Optional[_Union[Login, _Mapping]] = ..., tls: _Optional[_Union[ClientTls, _Mapping]] = ...) -> None: ...

class PostgresSource(_message.Message):
    __slots__ = ("url", "login", "tables", "publication", "slot", "no_snapshot", "tls")
    URL_FIELD_NUMBER: _ClassVar[int]
    LOGIN_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    NO_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    url: str
    login: Login
    tables: _containers.RepeatedScalarFieldContainer[str]
    publication: str
    slot: str
    no_snapshot: bool
    tls: ClientTls
    def __init__(self, url: _Optional[str] = ..., login: _Optional[_Union[Login, _Mapping]] = ..., tables: _Optional[_Iterable[str]] = ..., publication: _Optional[str] = ..., slot: _Optional[str] = ..., no_snapshot: bool = ..., tls: _Optional[_Union[ClientTls, _Mapping]] = ...) -> None: ...

class WebhookSource(_message.Message):
    __slots__ = ("hmac", "signature_header", "token")
    HMAC_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_HEADER_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    hmac: Secret
    signature_header: str
    token: Secret
    def __init__(self, hmac: _Optional[_Union[Secret, _Mapping]] = ..., signature_header: _Optional[str] = ..., token: _Optional[_Union[Secret, _Mapping]] = ...) -> None: ...

class MqttSource(_message.Message):
    __slots__ = ("url", "topics", "client_id", "login", "tls")
    URL_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    LOGIN_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    url: str
    topics: _containers.RepeatedScalarFieldContainer[str]
    client_id: str
    login: Login
    tls: ClientTls
    def __init__(self, url: _Optional[str] = ..., topics: _Optional[_Iterable[str]] = ..., client_id: _Optional[str] = ..., login: _Optional[_Union[Login, _Mapping]] = ..., tls: _Optional[_Union[ClientTls, _Mapping]] = ...) -> None: ...

class SourceStatus(_message.Message):
    __slots__ = ("source_id", "state", "error", "retry_time", "positions", "events", "changes", "dead_letters", "duplicates", "out_of_date", "rate", "lag", "last_event_time", "reconnects")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[SourceStatus.State]
        STARTING: _ClassVar[SourceStatus.State]
        RUNNING: _ClassVar[SourceStatus.State]
        BACKING_OFF: _ClassVar[SourceStatus.State]
        FAILED: _ClassVar[SourceStatus.State]
        PAUSED: _ClassVar[SourceStatus.State]
    STATE_UNSPECIFIED: SourceStatus.State
    STARTING: SourceStatus.State
    RUNNING: SourceStatus.State
    BACKING_OFF: SourceStatus.State
    FAILED: SourceStatus.State
    PAUSED: SourceStatus.State
    class PositionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LagEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RETRY_TIME_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_DATE_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    LAST_EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    RECONNECTS_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    state: SourceStatus.State
    error: str
    retry_time: _timestamp_pb2.Timestamp
    positions: _containers.ScalarMap[str, str]
    events: int
    changes: int
    dead_letters: int
    duplicates: int
    out_of_date: int
    rate: float
    lag: _containers.ScalarMap[str, int]
    last_event_time: _timestamp_pb2.Timestamp
    reconnects: int
    def __init__(self, source_id: _Optional[str] = ..., state: _Optional[_Union[SourceStatus.State, str]] = ..., error: _Optional[str] = ..., retry_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., positions: _Optional[_Mapping[str, str]] = ..., events: _Optional[int] = ..., changes: _Optional[int] = ..., dead_letters: _Optional[int] = ..., duplicates: _Optional[int] = ..., out_of_date: _Optional[int] = ..., rate: _Optional[float] = ..., lag: _Optional[_Mapping[str, int]] = ..., last_event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reconnects: _Optional[int] = ...) -> None: ...

class DeadLetter(_message.Message):
    __slots__ = ("deadletter_id", "source_id", "topic", "partition", "position", "event_id", "key", "value", "headers", "content_type", "event_time", "reason", "message", "dead_time", "attempts", "replay")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DEADLETTER_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DEAD_TIME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    deadletter_id: str
    source_id: str
    topic: str
    partition: str
    position: str
    event_id: str
    key: bytes
    value: bytes
    headers: _containers.ScalarMap[str, str]
    content_type: str
    event_time: _timestamp_pb2.Timestamp
    reason: str
    message: str
    dead_time: _timestamp_pb2.Timestamp
    attempts: int
    replay: bool
    def __init__(self, deadletter_id: _Optional[str] = ..., source_id: _Optional[str] = ..., topic: _Optional[str] = ..., partition: _Optional[str] = ..., position: _Optional[str] = ..., event_id: _Optional[str] = ..., key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., headers: _Optional[_Mapping[str, str]] = ..., content_type: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., dead_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempts: _Optional[int] = ..., replay: bool = ...) -> None: ...
