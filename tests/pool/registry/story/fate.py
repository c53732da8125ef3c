"""Time, people, and what befalls Redis."""

import copy
from collections.abc import Mapping

from pool.registry import Grant, HangUp, Standing
from tests.pool.registry.model import Life, Model
from tests.pool.registry.story.handing_over import HandingOver
from tests.pool.registry.story.notes import CARRIERS, ROOMS

MORE_THAN_GRANTS_IN_A_MS = 100
"""Fences rise over a loss of data because time does, and a fence may be ahead of it by the grants within one ms."""

EXPIRING = ("finished:", "memory:", "carrier:", "drained:", "stray:", "passed:", "room:")
"""Keys that Redis forgets by itself, by its own clock. (`held:` and `standby:` too, a day after the last lease.)"""


class Story(HandingOver):
    """The whole of it."""

    async def begin(self) -> None:
        await self.world.lose_data()
        await self.world.settle()
        for room in ROOMS:
            self.open_life(room, as_old=False)
            await self.arrive(room, 0, 0)
        for index in range(CARRIERS):
            await self.beat(index, draining=False)

    async def pass_time(self, ms: int, sweep: bool) -> None:
        """Time in which Redis is in use, but nobody renews."""
        await self.world.pass_ms(ms, sweep=sweep)

    async def live(self, ms: int) -> None:
        """Time in which every carrier that lives beats, sweeps, renews and claims as it should."""
        end, beats_at = self.world.clock.now + ms, 0
        await self.everybody_claims()
        while self.world.clock.now < end:
            self.world.clock.now = min(end, self.world.clock.now + 900)
            for index, holder in enumerate(self.carriers):
                if beats_at <= self.world.clock.now:
                    await self.beat(index, holder.is_draining)
                await self.renew(index, set(), is_heard=True)
            if beats_at <= self.world.clock.now:
                beats_at = self.world.clock.now + 2000
            await self.world.rooms.due()
        for index in range(CARRIERS):
            await self.remember(index, 0, number=1, length=20)

    async def be_silent(self, ms: int, everybody_claims: bool) -> None:
        """Nobody reaches Redis for more than half a ttl. Whoever was owner then may come back first."""
        owners = {}
        for room in ROOMS:
            state = await self.look(room)
            if state is not None and state.owner is not None and state.sid not in self.model.finished:
                owners[state.sid] = (state.owner, state.fence)
        self.world.silence(ms)
        await self.world.touch()
        self.protect(owners)
        if everybody_claims:
            await self.everybody_claims()

    async def lose_data(self, everybody_claims: bool) -> None:
        """Redis comes back empty, and hears of the rooms again before their owners renew."""
        present = [(known.life, who) for known in self.model.known.values() for who in known.callers]
        await self.world.lose_data()
        self.world.clock.now += MORE_THAN_GRANTS_IN_A_MS
        await self.world.touch()
        self.has_lost_data = True
        self.model = Model()
        self.last_mine.clear()
        self.protect(self.newest_owners())
        if everybody_claims:
            for life, who in present:
                await self.arrive(life.room, self.age(life), int(who.rpartition(".")[2]))
            await self.everybody_claims()

    async def replicate(self) -> None:
        """What a replica has that will get no further writes."""
        self.replica = await self.world.dump(), copy.deepcopy(self.model)

    async def fail_over(self, everybody_claims: bool) -> None:
        """That replica is made the master. Owners that it knows, and none outranks, may come back within its grace."""
        assert self.replica is not None
        (dump, model), self.replica = self.replica, None
        await self.world.restore(dump)
        self.model = copy.deepcopy(model)
        self.has_lost_data = self.has_failed_over = True
        self.last_mine.clear()
        self.world.clock.now += MORE_THAN_GRANTS_IN_A_MS
        await self.world.touch()
        newest = self.newest_owners()
        states = [state for room in ROOMS if (state := await self.look(room)) is not None]
        known = {state.sid: (state.owner, state.fence) for state in states if state.sid not in self.model.finished}
        self.protect({sid: owner for sid, owner in newest.items() if known.get(sid) == owner})
        self.protected_until = await self.world.grace_until()
        self.reached.add("failed over")
        if everybody_claims:
            await self.everybody_claims()

    def newest_owners(self) -> dict[str, tuple[str, int]]:
        """For each life held who has the greatest fence, if its lease had not ended when the data was lost."""
        owners = {}
        for room in ROOMS:
            claims = [(carrier.held[room].fence, carrier) for carrier in self.carriers if room in carrier.held]
            if claims:
                fence, newest = max(claims, key=lambda claim: claim[0])
                if newest.until[room] > self.world.clock.now:
                    owners[newest.held[room].sid] = (newest.id, fence)
        return owners

    def protect(self, owners: Mapping[str, tuple[str, int]]) -> None:
        self.protected = dict(owners)
        self.protected_until = self.world.clock.now + self.world.times.ttl_ms

    def age(self, life: Life) -> int:
        return [other.sid for other in reversed(self.lives[life.room])].index(life.sid)

    async def expire(self, number: int) -> None:
        """Redis forgets a key whose time to live has passed: by its own clock, which tests do not move."""
        keys = await self.world.expiring(EXPIRING)
        if not keys:
            return
        kind, _, name = (key := keys[number % len(keys)]).partition(":")
        await self.world.redis.delete(self.world.key(key))
        self.world.clock.now += MORE_THAN_GRANTS_IN_A_MS
        match kind:
            case "finished":
                self.model.finished.discard(name)
            case "carrier":
                self.model.beats.pop(name, None)
            case "memory":
                self.model.memory.pop(name, None)
            case "drained":
                self.model.drained.discard(name)
            case "room":  # an hour after anybody held it: whoever still would is believed as after a loss
                del self.model.known[name]
                self.last_mine.pop(name, None)
                self.forgotten.add(name)
                self.model.hung_up.pop(name, None)

    async def retry(self, room: str) -> None:
        state = await self.look(room)
        lifted = await self.world.rooms.retry(room)
        assert lifted == (state is not None and state.quarantined_unix_ms is not None)

    async def hangup(self, room: str) -> None:
        known = self.model.known.get(room)

        answer = await self.world.rooms.hangup(room)

        state = await self.look(room)
        is_over = known is None or known.life.sid in self.model.finished
        if answer is HangUp.NOBODY:
            assert is_over or (state is not None and state.owner is None and not state.callers)
            return
        assert known is not None and state is not None and not is_over
        self.model.hung_up[room] = set(state.callers)
        if answer is HangUp.ASKED:
            assert state.owner is not None and state.next is None
            self.reached.add("asked to hang up")
        else:
            assert state.standing in {Standing.RESTED, Standing.QUARANTINED}
            self.model.memory.pop(state.sid, None)

    async def stray_stays(self, room: str, age: int, shown: str, is_silent: bool) -> None:
        """It is seen again and again; meanwhile carriers reach Redis, or nobody does before the last time."""
        await self.stray(room, age, shown)
        await self.world.pass_ms(4000, sweep=True)
        await self.stray(room, age, shown)
        if is_silent:
            self.world.silence(4000)
            await self.world.touch()
        else:
            await self.world.pass_ms(4000, sweep=True)
        await self.stray(room, age, shown)

    async def stray(self, room: str, age: int, shown: str) -> None:
        life = self.life(room, age)
        before = await self.look(room)
        fence = {"none": None, "last": before.fence if before else 0, "old": 1}[shown]
        who = f"{life.sid}.agent"

        must_go = await self.world.rooms.stray(room, life.sid, who, fence)

        state, now = await self.look(room), self.world.clock.now
        sights = self.sights.setdefault(who, [])
        sights.append(now)
        if must_go:
            # Never an owner; never in a grace, nor the last owner holding out; and only who was seen before.
            assert state is None or state.owner is None
            assert now >= await self.world.grace_until()
            assert any(now - 60_000 <= at <= now - 4000 for at in sights)
            if state is not None and state.sid == life.sid and fence and state.fence == fence:
                assert state.standing not in {Standing.WAITING, Standing.BACKING_OFF, Standing.HELD_BACK}
            self.reached.add("stray")

    async def ending(self) -> None:
        """Nobody is forgotten: with all carriers gone, a fresh one gets every room where somebody waits. Survives."""
        await self.world.pass_ms(30_000, sweep=True)
        while isinstance(await self.world.rooms.claim_next("fresh", capacity=100), Grant):
            pass
        for room in ROOMS:
            state = await self.look(room)
            if state is not None and state.callers:
                assert state.owner == "fresh" or state.standing in {Standing.RESTED, Standing.QUARANTINED}
            assert state is None or state.next is None
