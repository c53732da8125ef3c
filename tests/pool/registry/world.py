"""Room state in a real Valkey, with a clock that tests move."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import cast

from redis.asyncio import Redis

from pool.contract import Arrived, Finished, Left
from pool.journal import Decision, DecisionLog
from pool.registry import CarrierRecord, Carriers, Grant, Held, Noted, Rooms, RoomState, Times

BEGINNING_UNIX_MS = 1_800_000_000_000

TIMES = Times()


@dataclass(slots=True)
class Clock:
    """What the scripts take for Redis' time."""

    now: int = BEGINNING_UNIX_MS

    def __call__(self) -> int:
        return self.now


@dataclass(slots=True)
class World:
    """One prefix of one Redis, and the verbs on it with defaults that make tests short."""

    redis: Redis
    prefix: str
    times: Times = TIMES
    clock: Clock = field(default_factory=Clock)
    url: str = ""

    @property
    def rooms(self) -> Rooms:
        return Rooms(self.redis, prefix=self.prefix, times=self.times, now_ms=self.clock)

    @property
    def carriers(self) -> Carriers:
        return Carriers(self.redis, prefix=self.prefix, times=self.times, now_ms=self.clock)

    @property
    def story(self) -> DecisionLog:
        return DecisionLog(self.redis, prefix=self.prefix, times=self.times)

    async def settle(self) -> None:
        """Let the grace pass that follows the very first touch of an empty Redis."""
        await self.touch()
        await self.pass_ms(self.times.ttl_ms + 1)

    async def touch(self) -> None:
        """A command that does nothing but say that Redis answers."""
        await self.rooms.due(0)

    async def pass_ms(self, ms: int, *, sweep: bool = False) -> None:
        """Time passes in which Redis is in use, and with `sweep` due rooms are looked at."""
        end = self.clock.now + ms
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + self.times.ttl_ms // 2)
            await self.rooms.due(50 if sweep else 0)

    async def lose_data(self) -> None:
        """Redis comes back empty."""
        await self.redis.flushall()

    async def dump(self) -> dict[bytes, tuple[int, bytes]]:
        """Every key with its time to live, as a replica would have it that gets no further writes."""
        async with Redis.from_url(self.url) as raw:
            keys = await raw.keys("*")
            return {key: (max(await raw.pttl(key), 0), await raw.dump(key)) for key in keys}

    async def restore(self, replica: dict[bytes, tuple[int, bytes]]) -> None:
        """A failover to that replica: what was written since is forgotten."""
        async with Redis.from_url(self.url) as raw:
            await raw.flushall()
            for key, (ttl_ms, content) in replica.items():
                await raw.restore(key, ttl_ms, content)

    def silence(self, ms: int) -> None:
        """Time passes in which nobody reaches Redis."""
        self.clock.now += ms

    async def arrive(
        self,
        room: str = "demo",
        *,
        sid: str = "RM_1",
        created: int | None = None,
        who: str = "PA_1",
        joined: int | None = None,
    ) -> Noted:
        now = self.clock.now
        created = BEGINNING_UNIX_MS if created is None else created
        return await self.rooms.note(Arrived(room, sid, created, who, now if joined is None else joined))

    async def leave(self, room: str = "demo", *, sid: str = "RM_1", who: str = "PA_1") -> Noted:
        return await self.rooms.note(Left(room, sid, who))

    async def finish(self, room: str = "demo", *, sid: str = "RM_1") -> Noted:
        return await self.rooms.note(Finished(room, sid))

    async def claim(self, carrier: str = "one", *, capacity: int = 8) -> Grant:
        """Claim a room that there must be."""
        grant = await self.rooms.claim_next(carrier, capacity=capacity)
        assert isinstance(grant, Grant), grant
        return grant

    async def beat(
        self,
        carrier: str,
        *,
        worker: str = "",
        revision: str = "r1",
        capacity: int = 8,
        draining: bool = False,
        worker_started: int = 0,
        in_use: int = 0,
    ) -> bool:
        """A carrier of a worker of its own, unless another is named."""
        return await self.carriers.beat(
            CarrierRecord(
                id=carrier,
                worker=worker or f"worker-of-{carrier}",
                host="host",
                pid=1,
                revision=revision,
                capacity=capacity,
                in_use=in_use,
                draining=draining,
                started_unix_ms=BEGINNING_UNIX_MS,
                worker_started_unix_ms=worker_started,
            )
        )

    async def keep(self, grant: Grant, ms: int, carrier: str = "one") -> None:
        """Time in which the owner renews as it should."""
        end = self.clock.now + ms
        while self.clock.now < end:
            await self.pass_ms(min(900, end - self.clock.now), sweep=True)
            await self.rooms.renew(carrier, [held(grant)])

    async def stand_by(self, grant: Grant, taker: str = "two", *, owner: str = "one") -> None:
        """Somebody who beats is asked for, and says that it is ready."""
        await self.beat(taker)
        assert (await self.rooms.offer(owner, grant.room, grant.fence)).next == taker
        assert await self.rooms.stand_ready(taker, grant.room, grant.fence)

    async def passed(self, grant: Grant, taker: str = "two", *, owner: str = "one") -> Grant:
        """A room goes from its owner to the taker."""
        await self.stand_by(grant, taker, owner=owner)
        assert await self.rooms.pass_on(owner, grant.room, grant.fence)
        taken = await self.rooms.await_pass(taker, grant.room, grant.fence, limit_s=5)
        assert taken is not None
        return taken

    async def look(self, room: str = "demo") -> RoomState:
        """A room that there must be."""
        state = await self.rooms.look(room)
        assert state is not None
        return state

    async def told(self, room: str = "demo") -> list[str]:
        """The events of a room's story."""
        return [decision.event for decision in await self.decisions(room)]

    async def decisions(self, room: str = "demo") -> list[Decision]:
        return await self.story.read(room)

    async def scores(self, name: str) -> dict[str, int]:
        """The members of a sorted set, lowest score first."""
        scored = await self.redis.zrange(self.key(name), 0, -1, withscores=True)
        return {member: int(score) for member, score in scored}

    async def members(self, name: str) -> set[str]:
        """The members of a set."""
        return await cast(Awaitable[set[str]], self.redis.smembers(self.key(name)))

    async def grace_until(self) -> int:
        """Until when owners come back first, as it was last noted."""
        row = await cast(Awaitable[list[str]], self.redis.hmget(self.key("alive"), ["grace_until", "lost_until"]))
        return max(int(text) for text in row)

    async def expiring(self, kinds: tuple[str, ...]) -> list[str]:
        """The keys of these kinds that Redis will forget by itself, in order, without the prefix."""
        names = sorted(key.removeprefix(self.prefix) for key in await self.redis.keys("*"))
        return [name for name in names if name.startswith(kinds) and await self.redis.pttl(self.key(name)) > 0]

    def key(self, name: str) -> str:
        return self.prefix + name

    async def snapshot(self, *, without: tuple[str, ...] = ("alive",)) -> dict[str, object]:
        """Everything in Redis, by key without the prefix. The touch of every script is left out."""
        names = {key: key.removeprefix(self.prefix) for key in await self.redis.keys("*")}
        return {name: await _content(self.redis, key) for key, name in names.items() if name not in without}


def held(grant: Grant, callers: dict[str, int] | None = None) -> Held:
    """What the owner says of a room it was granted."""
    seen = dict(grant.callers) if callers is None else callers
    return Held(grant.room, grant.sid, grant.created_unix_ms, grant.fence, seen)


async def _content(redis: Redis, key: str) -> object:
    """A key's type and what it holds, in a form that can be compared."""
    kind = await redis.type(key)
    match kind:
        case "hash":
            return kind, await cast(Awaitable[object], redis.hgetall(key))
        case "set":
            return kind, await cast(Awaitable[object], redis.smembers(key))
        case "zset":
            return kind, await redis.zrange(key, 0, -1, withscores=True)
        case "stream":
            return kind, await redis.xrange(key)
        case "list":
            return kind, await cast(Awaitable[object], redis.lrange(key, 0, -1))
        case _:
            return kind, await redis.get(key)
