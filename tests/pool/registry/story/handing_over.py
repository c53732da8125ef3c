"""What two carriers do together: offer, stand by, pass on."""

from pool.registry import Held, Release, Renewal
from tests.pool.registry.model import Holder
from tests.pool.registry.story.carrying import Carrying
from tests.pool.registry.story.notes import CAPACITY, CARRIERS


class HandingOver(Carrying):
    """The verbs of an owner and of the next one, and what a former owner must not do."""

    async def offer(self, index: int, pick: int) -> None:
        carrier = self.carriers[index]
        grant = self.picked(carrier, pick)
        if grant is None:
            return

        offered = await self.world.rooms.offer(carrier.id, grant.room, grant.fence)

        if offered.next is None:
            assert not offered.ready
            return
        state = await self.look(grant.room)
        assert self.is_owner(carrier, grant, state) and state is not None
        assert (state.next, state.is_next_ready) == (offered.next, offered.ready)
        assert offered.next != carrier.id
        assert grant.room not in self.model.hung_up or self.has_failed_over
        assert not self.model.drains(offered.next)
        self.reached.add("offered")

    def holder(self, carrier: str) -> Holder | None:
        """The living carrier of that id."""
        return next((holder for holder in self.carriers if holder.id == carrier), None)

    async def attend(self, index: int, how: str) -> None:
        """A carrier sees what it is asked, gives up what is gone, takes what was passed, and answers the rest."""
        carrier = self.carriers[index]
        for room in list(carrier.asked):
            await self.await_pass(carrier, room)
        for offer in (await self.world.rooms.due(0, carrier=carrier.id)).offers:
            one = (carrier.id, offer.room, offer.fence)
            state = await self.look(offer.room)
            assert state is not None
            assert (state.next, state.fence, state.owner, state.sid) == (
                carrier.id,
                offer.fence,
                offer.owner,
                offer.sid,
            )
            assert list(offer.memory) == self.model.memory.get(offer.sid, [])
            if offer.room in carrier.asked:
                continue
            if carrier.in_use >= CAPACITY or how == "decline":
                assert await self.world.rooms.decline(*one, bar_ms=1000)
                assert (after := await self.look(offer.room)) is not None and after.next is None
            elif how == "ready":
                is_over = offer.sid in self.model.finished
                assert await self.world.rooms.stand_ready(*one) != is_over
                if not is_over:
                    carrier.asked[offer.room] = offer
                    self.reached.add("stood ready")

    async def await_pass(self, carrier: Holder, room: str) -> None:
        offer = carrier.asked[room]
        grant = await self.world.rooms.await_pass(carrier.id, room, offer.fence, limit_s=0.01)
        state = await self.look(room)
        if grant is not None:
            assert grant.fence > offer.fence
            assert (grant.room, grant.sid) == (room, offer.sid)
            self.take(carrier, grant, 0)  # nobody speaks on the word of a message: it renews first
            self.reached.add("taken over")
        elif state is None or (state.next, state.fence) != (carrier.id, offer.fence):
            del carrier.asked[room]

    async def withdraw(self, index: int, pick: int) -> None:
        carrier = self.carriers[index]
        grant = self.picked(carrier, pick)
        if grant is None:
            return
        before = await self.look(grant.room)
        withdrawn = await self.world.rooms.withdraw(carrier.id, grant.room, grant.fence)
        is_offered = before is not None and before.next is not None
        assert withdrawn == (self.is_owner(carrier, grant, before) and is_offered)
        if withdrawn:
            assert (after := await self.look(grant.room)) is not None and after.next is None

    async def pass_on(self, index: int, pick: int, is_heard: bool) -> None:
        carrier = self.carriers[index]
        grant = self.picked(carrier, pick)
        if grant is None:
            return
        before = await self.look(grant.room)

        fence = await self.world.rooms.pass_on(carrier.id, grant.room, grant.fence)

        after = await self.look(grant.room)
        if fence is None:
            assert after == before
            return
        # A pass leaves exactly one owner, and only who said that it was ready.
        assert before is not None and after is not None
        assert self.is_owner(carrier, grant, before)
        assert before.is_next_ready
        assert grant.sid not in self.model.finished
        assert (after.owner, after.fence, after.next) == (before.next, fence, None)
        assert len(after.attempts) == len(before.attempts)
        assert fence > self.last_fence.get(grant.room, 0)
        self.last_fence[grant.room] = self.passes[grant.room, grant.fence] = fence
        # The former owner is told so, should its question have crossed the pass.
        late = Held(grant.room, grant.sid, grant.created_unix_ms, grant.fence, grant.callers)
        assert await self.world.rooms.renew(carrier.id, [late]) == [Renewal.PASSED]
        self.history.append((carrier.id, grant))
        self.protected.pop(grant.sid, None)
        taker = self.holder(str(before.next))
        if taker is not None:
            taker.unheard.add(grant.room)
        if is_heard:
            self.drop(carrier, grant.room)
        else:
            carrier.until[grant.room] = 0  # it is mute from when it asked, until a renewal tells
        self.reached.add("passed")

    async def hand_over(self, index: int, pick: int, is_heard: bool, twist: str) -> None:
        """The whole of it, as far as it comes; each step is acted alone as well.

        Args:
            twist: "race" lets who is asked claim before it looks; "decline" and "withdraw" is what one side does.
        """
        if twist != "race":
            await self.everybody_claims()
        owners = [number for number, holder in enumerate(self.carriers) if holder.held]
        if not owners:
            return
        index = owners[index % len(owners)]
        for number in range(CARRIERS):
            await self.beat(number, draining=number == index)
        await self.offer(index, pick)
        if twist == "race":
            await self.race(index)
        for number in range(CARRIERS):
            await self.attend(number, "decline" if twist == "decline" else "ready")
        if twist == "withdraw":
            await self.withdraw(index, pick)
        await self.pass_on(index, pick, is_heard)
        await self.renew(index, set(), is_heard=not is_heard)
        for number in range(CARRIERS):
            await self.attend(number, "wait")
        await self.beat(index, draining=False)

    async def race(self, owner: int) -> None:
        """Whoever is asked has not looked yet, and claims what it can."""
        for grant in self.carriers[owner].held.values():
            state = await self.look(grant.room)
            for number, holder in enumerate(self.carriers):
                if state is not None and state.next == holder.id:
                    for _ in range(CAPACITY):
                        await self.claim(number, is_heard=True)
                    now = await self.reading()
                    taken = len(now.owned_by(holder.id)) + len(now.reserved_for(holder.id))
                    assert taken <= CAPACITY or self.has_lost_data

    async def act_with_a_stale_fence(self, number: int, how: Release) -> None:
        """Whoever shows a fence below the stored one changes nothing. Survives the loss of data."""
        if not self.history:
            return
        carrier, grant = self.history[-1 - number % len(self.history)]
        room, fence = grant.room, grant.fence
        state = await self.look(room)
        if state is None or state.fence <= fence:
            return
        before = await self.world.snapshot()
        rooms = self.world.rooms

        [renewal] = await rooms.renew(carrier, [Held(room, grant.sid, grant.created_unix_ms, fence, grant.callers)])
        assert renewal in {Renewal.LOST, Renewal.OVER, Renewal.PASSED}
        assert not await rooms.release(carrier, room, fence, how)
        assert not await rooms.remember(carrier, room, fence, ["stale"])
        assert (await rooms.offer(carrier, room, fence)).next is None
        assert not await rooms.stand_ready(carrier, room, fence)
        assert not await rooms.decline(carrier, room, fence, bar_ms=1000)
        assert not await rooms.withdraw(carrier, room, fence)
        assert await rooms.pass_on(carrier, room, fence) is None
        assert await self.world.snapshot() == before
        self.reached.add("stale")
