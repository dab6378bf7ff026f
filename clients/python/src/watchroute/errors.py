"""The one error of this package, and what it is made from."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.rpc import error_details_pb2, status_pb2

# Reasons of the client itself; all others are of watchroute.v1.ErrorReason.
WRONG_TYPE = "WRONG_TYPE"
UNKNOWN_MESSAGE = "UNKNOWN_MESSAGE"
NOT_WATCHROUTE = "NOT_WATCHROUTE"

_CODES = {code.value[0]: code for code in grpc.StatusCode}

_FINAL = frozenset({
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
})


class WatchrouteError(Exception):
    """A call failed, or a watch ended for good."""

    code: grpc.StatusCode
    """The gRPC code."""
    reason: str
    """Of watchroute.v1.ErrorReason, or WRONG_TYPE, UNKNOWN_MESSAGE or NOT_WATCHROUTE of the
    client itself. Empty: what failed gave none, such as a connection."""
    message: str
    """For people."""
    metadata: Mapping[str, str]
    """What is concerned: `field` is the path of the offending request field."""
    retry_after: float | None
    """After how many seconds trying again helps. None: the error does not say."""

    def __init__(self, code: grpc.StatusCode, message: str, *, reason: str = "",
                 metadata: Mapping[str, str] | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.reason = code, message, reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code.name}{': ' if self.reason else ''}{self.reason}: {self.message}"

    @property
    def final(self) -> bool:
        """Whether trying the same again cannot help. A fresh credential is another matter."""
        if self.code is grpc.StatusCode.UNAUTHENTICATED:
            return self.retry_after is None
        return self.code in _FINAL


def from_status(status: status_pb2.Status) -> WatchrouteError:
    """Gives the error that a status says."""
    reason, metadata, retry_after = "", {}, None
    for detail in status.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.domain == "watchroute.dev":
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Is(retry.DESCRIPTOR) and detail.Unpack(retry):
            retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return WatchrouteError(code, status.message, reason=reason, metadata=metadata, retry_after=retry_after)


def from_rpc(error: grpc.aio.AioRpcError) -> WatchrouteError:
    """Gives the error of a call that failed."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except Exception:  # no status: what the code says must do
                break
            if status.code == error.code().value[0]:
                return from_status(status)
    return WatchrouteError(error.code(), error.details() or "")


def client_closed() -> WatchrouteError:
    return WatchrouteError(grpc.StatusCode.CANCELLED, "the client is closed")


def invalid(message: str, field: str) -> WatchrouteError:
    """What a program asked for cannot be sent."""
    return WatchrouteError(grpc.StatusCode.INVALID_ARGUMENT, message, reason="INVALID_FIELD", metadata={"field": field})


def unknown_message(what: str) -> WatchrouteError:
    return WatchrouteError(grpc.StatusCode.UNIMPLEMENTED, f"{what} that this client does not know: the server is newer",
                           reason=UNKNOWN_MESSAGE)


def not_watchroute(message: str) -> WatchrouteError:
    return WatchrouteError(grpc.StatusCode.UNIMPLEMENTED, f"what answers does not speak the protocol: {message}",
                           reason=NOT_WATCHROUTE)
