-- An owner hands its room to the carrier that stands by and has said that it is ready.
-- ARGV: [4] carrier, [5] room, [6] fence.
-- Answers { new fence }, or {} when that is not possible: not this owner's under this fence, over, about to be hung up,
-- nobody ready, or who was ready has died, drains or is cordoned by now. Then nothing changes.
-- The next owner's lease begins here; its grant lies for `pass_ms` where it waits for it. It joins a call that goes well,
-- so that is no further attempt. The old owner's renewals are answered: passed; its release changes nothing.

local carrier, room, fence = ARGV[4], ARGV[5], tonumber(ARGV[6])

local st = load_room(room)
if not is_held_by(st, carrier, fence) or is_finished(st.sid) or st.hangup then
  return {}
end
if not offer_stands(st) or not st.offer.ready then
  return {}
end
local us, taker = record_of(carrier), record_of(st.offer.next)
if not may_take_over(taker, us) or not is_live(taker.id) then
  return {}
end

local new_fence = math.max(fence + 1, NOW)
set_owner(st, taker.id, new_fence)
st.passed = { carrier = carrier, fence = fence, to = new_fence }
if st.attempts[#st.attempts] == st.claimed then -- goes on under the next owner
  st.attempts[#st.attempts] = NOW
end
st.claimed, st.met = NOW, nil
why(room, 'passed', 'carrier', carrier, 'fence', whole(fence), 'next', taker.id, 'next_fence', whole(new_fence))
count('rooms_passed')
settle(st)

local key = PREFIX .. 'passed:' .. taker.id .. ':' .. room .. ':' .. whole(fence)
redis.call('DEL', key)
redis.call('RPUSH', key, cjson.encode(granted(st, NOW)))
redis.call('PEXPIRE', key, TIMES.pass_ms)
return { whole(new_fence) }
