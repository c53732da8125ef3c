-- A participant with our identity was seen in a room. Must it be put out?
-- ARGV: [4] room, [5] room sid, [6] participant sid, [7] the fence it joined with, or ''.
-- Answers 1 when the room has no live lease now and Redis is in no grace, the same participant was reported under the
-- same conditions at least 4 s and at most 60 s ago, and it is not the last owner holding out; else 0.
-- A room that has an owner again begins anew: its agent may be between joining and what we know.

local room, sid, participant, fence = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local AGAIN_AFTER_MS, AGAIN_WITHIN_MS = 4000, 60000

local key = PREFIX .. 'stray:' .. sid .. ':' .. participant
local st = load_room(room)
local standing = st and settle(st)
if st and st.owner then
  redis.call('DEL', key)
  return 0
end
if NOW < GRACE_UNTIL or NOW < LOST_UNTIL then
  return 0
end
if st and st.sid == sid and WAITS[standing] and fence == st.fence then
  return 0
end

local text = redis.pcall('GET', key)
local first = type(text) == 'string' and parse_number(text) or nil
if not first or first > NOW or NOW - first > AGAIN_WITHIN_MS then
  redis.call('SET', key, whole(NOW), 'PX', AGAIN_WITHIN_MS)
  return 0
end
if NOW - first < AGAIN_AFTER_MS then
  return 0
end
why(room, 'stray', 'fence', fence and whole(fence) or '', 'seen_for_ms', whole(NOW - first))
count('strays')
return 1
