-- LiveKit has just opened a room: somebody is about to come in, so an agent may get there first.
-- ARGV: [4] room, [5] room sid, [6] created ms.
-- Answers as `arrive`, with 'absent' for a life that is known already: whoever was noted in it is what counts.
-- The expectation holds for `expected_ms`, or until a carrier claims the room; whom nobody meets there, it leaves.

local room, sid, created = ARGV[4], ARGV[5], tonumber(ARGV[6])

if is_finished(sid) then
  return 'finished'
end

local known = load_room(room)
if known and known.sid == sid then
  local standing = settle(known)
  return WAITS[standing] and 'waiting' or standing
end
local st = life_of(known, room, sid, created)
if not st then
  return 'stale'
end
st.expected = NOW + TIMES.expected_ms
why(room, 'expected')
local standing = settle(st)
return WAITS[standing] and 'waiting' or standing
