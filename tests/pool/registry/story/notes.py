"""What LiveKit does and says; and what a story remembers of everything."""

import itertools

from pool.contract import Arrived, Finished, Left, Opened
from pool.registry import Grant, Noted, RoomState
from tests.pool.registry.model import Holder, Known, Life, Model, Reading
from tests.pool.registry.world import World

ROOMS = ("a", "b", "c", "d")
CARRIERS = 3
CAPACITY = 2


class Notes:
    """Acts on room state, and remembers what must follow."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.numbers = itertools.count(1)
        self.lives: dict[str, list[Life]] = {room: [] for room in ROOMS}
        self.model = Model()
        self.carriers = [self.new_carrier(f"worker-{index // 2}") for index in range(CARRIERS)]
        self.last_fence: dict[str, int] = {}
        self.forgotten: set[str] = set()
        """Rooms whose state has expired since they were last granted."""
        self.last_mine: dict[str, int] = {}
        """Room to the greatest fence that was renewed since Redis last lost anything."""
        self.history: list[tuple[str, Grant]] = []
        self.passes: dict[tuple[str, int], int] = {}
        """Room and old fence to the new one."""
        self.sights: dict[str, list[int]] = {}
        self.has_lost_data = False
        self.has_failed_over = False
        self.replica: tuple[dict[bytes, tuple[int, bytes]], Model] | None = None
        self.protected: dict[str, tuple[str, int]] = {}
        """Sid of a life to the owner, with its fence, that may come back for it."""
        self.protected_until = 0
        self.reached: set[str] = set()
        """What the story has come to: a machine that never gets anywhere proves nothing."""

    def new_carrier(self, worker: str = "") -> Holder:
        number = next(self.numbers)
        return Holder(f"carrier-{number}", worker or f"worker-of-{number}")

    def life(self, room: str, age: int) -> Life:
        lives = self.lives[room]
        return lives[max(0, len(lives) - 1 - age)]

    async def look(self, room: str) -> RoomState | None:
        return await self.world.rooms.look(room)

    async def reading(self) -> Reading:
        """Redis as it stands."""
        world, states = self.world, {room: await self.look(room) for room in ROOMS}
        ids = {holder.id for holder in self.carriers}
        ids |= {id_ for state in states.values() if state is not None for id_ in (state.owner, state.next) if id_}
        sids = {state.sid for state in states.values() if state is not None}
        async with world.redis.pipeline(transaction=False) as pipeline:
            pipeline.zrange(world.key("waiting"), 0, -1, withscores=True)
            pipeline.zrange(world.key("due"), 0, -1, withscores=True)
            pipeline.hgetall(world.key("counters"))
            for kind in ("held", "standby"):
                for id_ in ids:
                    pipeline.smembers(world.key(f"{kind}:{id_}"))
            for sid in sids:
                pipeline.lrange(world.key(f"memory:{sid}"), 0, -1)
            for room in ROOMS:
                pipeline.hexists(world.key(f"room:{room}"), "emptied")
            waiting, due, counters, *rest = await pipeline.execute()
        rest, emptied = rest[: -len(ROOMS)], rest[-len(ROOMS) :]
        return Reading(
            now=world.clock.now,
            states=states,
            waiting=dict(waiting),
            due=dict(due),
            held=dict(zip(ids, rest, strict=False)),
            standby=dict(zip(ids, rest[len(ids) :], strict=False)),
            memory=dict(zip(sids, rest[2 * len(ids) :], strict=True)),
            emptied={room for room, is_emptied in zip(ROOMS, emptied, strict=True) if is_emptied},
            counters=set(counters),
        )

    def open_life(self, room: str, as_old: bool) -> None:
        """A name begins a new life, now and then in the very millisecond of the one before."""
        before = self.lives[room]
        self.world.clock.now += 1
        created = before[-1].created if as_old and before else self.world.clock.now
        before.append(Life(room, f"RM_{next(self.numbers)}", created))

    async def expect(self, room: str, age: int) -> None:
        """LiveKit opened the room. A life that is known, or over, or older than the known one, stays as it is."""
        life = self.life(room, age)
        known = self.model.known.get(life.room)

        answer = await self.world.rooms.note(Opened(life.room, life.sid, life.created))

        if life.sid in self.model.finished:
            assert answer is Noted.FINISHED
        elif known is None or (known.life.sid != life.sid and life.created >= known.life.created):
            self.began(life).expected_until = self.world.clock.now + self.world.times.expected_ms
            assert answer is Noted.WAITING
            self.reached.add("expected")
        elif known.life.sid != life.sid:
            assert answer is Noted.STALE

    def began(self, life: Life) -> Known:
        """This life of the name is the one that counts now."""
        known = self.model.known[life.room] = Known(life)
        self.model.hung_up.pop(life.room, None)
        for other in self.lives[life.room]:
            if other.sid != life.sid and other.created <= life.created:
                self.protected.pop(other.sid, None)
        return known

    async def arrive(self, room: str, age: int, place: int) -> None:
        life = self.life(room, age)
        who, joined = life.participant(place)
        known = self.model.known.get(life.room)

        answer = await self.world.rooms.note(Arrived(life.room, life.sid, life.created, who, joined))

        if life.sid in self.model.finished:
            assert answer is Noted.FINISHED
            return
        if known is None or (known.life.sid != life.sid and life.created >= known.life.created):
            known = self.began(life)
        if known.life.sid != life.sid:
            assert answer is Noted.STALE  # the greater creation time wins a name
        elif who in known.gone:
            assert answer is Noted.GONE
        else:
            known.life = life  # its creation may have been unknown
            known.callers[who] = joined
            assert answer in {Noted.WAITING, Noted.OWNED, Noted.RESTED, Noted.QUARANTINED}

    async def leave(self, room: str, age: int, place: int) -> None:
        life = self.life(room, age)
        who, _ = life.participant(place)
        known = self.model.known.get(life.room)

        answer = await self.world.rooms.note(Left(life.room, life.sid, who))

        if life.sid in self.model.finished:
            assert answer is Noted.FINISHED
        elif known is None:
            assert answer is Noted.ABSENT
            self.model.known[life.room] = Known(Life(life.room, life.sid, 0), gone={who})
        elif known.life.sid != life.sid:
            assert answer is Noted.STALE
        else:
            if known.callers.pop(who, None) is not None and not known.callers:
                known.emptied_at = self.world.clock.now
            known.gone.add(who)

    async def finish(self, room: str, age: int) -> None:
        life = self.life(room, age)
        known = self.model.known.get(life.room)

        await self.world.rooms.note(Finished(life.room, life.sid))

        self.model.finished.add(life.sid)
        if known is not None and known.life.sid == life.sid:
            known.callers.clear()
            known.expected_until = 0
            self.model.hung_up.pop(room, None)
        self.protected.pop(life.sid, None)
