-- Rooms that wait, are owned, are held back or are quarantined, for `roompool ps`. Rested and empty ones are in no set.
-- ARGV: [4] at most so many of each set.
-- Answers JSON objects, in the order waiting (longest first), due (soonest first), quarantined (earliest first).

local last = tonumber(ARGV[4]) - 1
local seen, answers = {}, {}
for _, set in ipairs({ WAITING, DUE, QUARANTINED }) do
  for _, room in ipairs(redis.call('ZRANGE', set, 0, last)) do
    if not seen[room] then
      seen[room] = true
      local st = load_room(room)
      if st then
        local standing = standing_of(st)
        answers[#answers + 1] = cjson.encode({
          room = room, sid = st.sid, standing = standing, owner = st.owner, fence = st.fence, callers = size(st.callers),
          attempts = tries(st), queued = st.queued, claimed = st.claimed,
          quarantined = st.quarantined, until_ms = st['until'], now = NOW,
        })
      else
        redis.call('ZREM', set, room)
      end
    end
  end
end
return answers
