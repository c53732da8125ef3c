"""A connect that joins once, or not at all.

LiveKit's SDK tries a join that fails again, three times, 15 s apart where the room was deleted in the middle of it. It
asks nobody: by then the room may be another owner's, whom such a join puts out (seen). So it is told to try once, and
whoever asked for it decides about the next time. The Python package has no such option, but its native core does
(livekit 1.2, `RoomOptions.join_retries`): the request is amended on its way there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog

log = structlog.get_logger()

_joins_once: ContextVar[bool] = ContextVar("joins_once", default=False)
"""Set where a connect of ours is asked for: others in this process are left as they are."""


@contextmanager
def joins_once() -> Iterator[None]:
    """Have every connect in this block tried once."""
    _amend_requests()
    before = _joins_once.set(True)
    try:
        yield
    finally:
        _joins_once.reset(before)


def amend(request: Any) -> None:
    """Change a connect so that it is tried once; any other request is left as it is."""
    if request.HasField("connect"):
        request.connect.options.join_retries = 0


def _amend_requests() -> None:
    """Have the SDK's requests pass by us, once a process. Where the SDK is built otherwise nothing is changed."""
    try:
        from livekit.rtc._ffi_client import FfiClient  # here, where it may be missing

        client: Any = FfiClient.instance
        ask = client.request
    except (ImportError, AttributeError) as error:
        log.warning("sdk_connect_not_amended", error=type(error).__name__)
        return
    if getattr(ask, "is_ours", False):
        return

    def request(req: Any) -> Any:
        if _joins_once.get():
            amend(req)
        return ask(req)

    request.is_ours = True  # type: ignore[attr-defined]
    client.request = request
