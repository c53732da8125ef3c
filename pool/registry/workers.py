"""The carriers that Redis knows: their beats, and who gets no more rooms."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pool.contract import DEFAULT_PREFIX
from pool.registry.scripts import load
from pool.registry.values import CarrierRecord, CarrierSeen, Times

if TYPE_CHECKING:
    from redis.asyncio import Redis

BEAT, CORDON, GONE, CARRIERS = load("beat"), load("cordon"), load("gone"), load("carriers")
REAP, DRAIN = load("reap"), load("drain")


class Carriers:
    """Records of carriers. Errors and cancellation as in `Rooms`."""

    def __init__(
        self,
        redis: "Redis",
        *,
        prefix: str = DEFAULT_PREFIX,
        times: Times = Times(),  # noqa: B008 (frozen)
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._times_json = json.dumps(asdict(times))
        self._now_ms = now_ms

    async def beat(self, carrier: CarrierRecord) -> bool:
        """Say that this carrier lives, and what it is; True when it should drain: it is cordoned, or its worker is to.

        A carrier that says it drains is given no more rooms.
        """
        fields = asdict(carrier) | {"draining": int(carrier.draining)}
        flat = [part for name, value in fields.items() for part in (name, value)]
        return bool(await BEAT.run(self._redis, *self._common(), carrier.id, *flat))

    async def cordon(self, carrier_id: str) -> None:
        """Give this carrier no more rooms, for good."""
        await CORDON.run(self._redis, *self._common(), carrier_id)

    async def reap(self, carrier_id: str) -> list[str]:
        """Cordon a carrier whose process has ended, and end its leases now. The rooms that it owned, by name.

        To be called only when the process is known to be gone: what it still says is of no effect.
        """
        rooms: list[str] = await REAP.run(self._redis, *self._common(), carrier_id)
        return rooms

    async def drain(self, worker: str) -> int:
        """Have a worker drain: its carriers get no more rooms, and are told by their beats, for a day.

        Returns how many carriers of it are known.
        """
        return int(await DRAIN.run(self._redis, *self._common(), worker))

    async def gone(self, carrier_id: str) -> None:
        """Forget a carrier that has ended. What it still holds is left to its leases."""
        await GONE.run(self._redis, *self._common(), carrier_id)

    async def list(self) -> list[CarrierSeen]:
        """Everyone with a record, the one that beat last first."""
        answers = await CARRIERS.run(self._redis, *self._common())
        return [_seen(json.loads(answer)) for answer in answers]

    def _common(self) -> tuple[str, str, str]:
        return self._prefix, str(self._now_ms()) if self._now_ms else "", self._times_json


def _number(record: Mapping[str, Any], name: str) -> int:
    """A number of a record, 0 when it is not there: a cordon may be all that is known of a carrier."""
    try:
        return int(record.get(name, 0))
    except ValueError:
        return 0


def _seen(record: Mapping[str, Any]) -> CarrierSeen:
    return CarrierSeen(
        carrier=CarrierRecord(
            id=record["id"],
            worker=record.get("worker", ""),
            host=record.get("host", ""),
            pid=_number(record, "pid"),
            revision=record.get("revision", ""),
            capacity=_number(record, "capacity"),
            in_use=_number(record, "in_use"),
            draining=record.get("draining") == "1",
            started_unix_ms=_number(record, "started_unix_ms"),
            worker_started_unix_ms=_number(record, "worker_started_unix_ms"),
        ),
        leases=_number(record, "leases"),
        cordoned=record.get("cordoned") == "1",
        beat_age_ms=_number(record, "now") - _number(record, "beat"),
        drained=record.get("drained") is True,
        reservations=_number(record, "reservations"),
    )
