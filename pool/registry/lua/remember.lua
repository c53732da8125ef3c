-- An owner notes what has been said, for whoever comes after it.
-- ARGV: [4] carrier, [5] room, [6] fence, [7..] texts, oldest first.
-- Answers 1, or 0 when the room is not this owner's under this fence, or over; then nothing changes.
-- Kept are the last 40 texts and 8 KiB of them, and for `memory_ms` after the last renewal of the room. A text that is
-- longer than that by itself is left out.

local carrier, room, fence = ARGV[4], ARGV[5], tonumber(ARGV[6])

local st = load_room(room)
if not is_held_by(st, carrier, fence) or is_finished(st.sid) then
  return 0
end

local key = memory_key(st)
claim_key(key, 'list')
for index = math.max(7, #ARGV - MOST_TEXTS + 1), #ARGV do
  if #ARGV[index] <= MOST_TEXT_BYTES then
    redis.call('RPUSH', key, ARGV[index])
  end
end
local texts, kept, bytes = redis.call('LRANGE', key, 0, -1), 0, 0
while kept < math.min(#texts, MOST_TEXTS)
  and bytes + #texts[#texts - kept] <= MOST_TEXT_BYTES do
  bytes, kept = bytes + #texts[#texts - kept], kept + 1
end
if kept == 0 then
  redis.call('DEL', key)
else
  redis.call('LTRIM', key, -kept, -1)
  redis.call('PEXPIRE', key, TIMES.memory_ms)
end
return 1
