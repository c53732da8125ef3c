"""The messages between a parent and its carriers, and how orders wait."""

import os

import pytest

from pool.carrier_protocol import (
    MAX_LINE_BYTES,
    CarrierArgs,
    Message,
    Order,
    Orders,
    ParentSettings,
    Refusal,
    Report,
    decode,
    encode,
    write_or_drop,
)

SETTINGS = ParentSettings(
    redis_url="redis://:word@host", capacity=8, grace_s=3600.0, recycle_calls=10, recycle_rss_bytes=1 << 29
)


@pytest.mark.parametrize(
    "message",
    [
        SETTINGS,
        Refusal(("REDIS_URL: is not set.", "ümlaut")),
        Report(True, "full", 3, calls_carried=12, rss_bytes=1 << 27),
    ],
    ids=["settings", "refusal", "report"],
)
def test_a_message_comes_out_as_it_went_in(message: Message) -> None:
    """In one line that a pipe takes whole."""
    line = encode(message)
    assert (line.count(b"\n"), line[-1:], len(line) < MAX_LINE_BYTES) == (1, b"\n", True)
    assert decode(line) == message


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b'{"is": "report"}', b'{"is": "song"}', b"\xff\n", b'{"is": ["report"]}']
)
def test_half_a_message_is_none(line: bytes) -> None:
    """What a dying carrier cut off."""
    assert decode(line) is None


def test_settings_do_not_show_the_password() -> None:
    """Not in a traceback, either."""
    assert "word" not in repr(SETTINGS)


def test_a_carrier_gets_its_arguments() -> None:
    """And comes out as it went in."""
    args = CarrierArgs("w-1", "w", 17, 4711, 5, 6)
    assert CarrierArgs.parse(args.argv) == args


def test_what_nobody_reads_is_dropped() -> None:
    """A pipe that is full takes no more, and holds nobody up; nor does one whose reader is gone."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    line = encode(Report(True, "taking calls"))
    while write_or_drop(writer, line):
        pass
    assert not write_or_drop(writer, line)
    os.close(reader)
    assert not write_or_drop(writer, line)
    os.close(writer)


def test_orders_wait_for_whoever_listens() -> None:
    """Those that came before, each once, then every one as it comes."""
    orders, heard = Orders(), list[Order]()
    for order in [Order.LOOK] * 50 + [Order.DRAIN]:
        orders.put(order)
    orders.listen(heard.append)
    assert heard == [Order.LOOK, Order.DRAIN]
    orders.put(Order.HURRY)
    assert heard == [Order.LOOK, Order.DRAIN, Order.HURRY]
