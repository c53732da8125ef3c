-- Which of the rooms that LiveKit lists need a closer look, because nobody cares for them as far as Redis knows.
-- ARGV: [4..] room, room sid, room, room sid, ...
-- Answers 1 or 0 for each. 0: finished, owned, waiting or about to be; and rested or quarantined, save once in
-- `rested_look_ms`: the webhook of somebody who came later may have been lost, and an agent may be in there that nobody
-- holds a lease for.
-- A rested or quarantined room is remembered as long as LiveKit lists it.

local function needs_a_look(room, sid)
  if is_finished(sid) then
    return 0
  end
  local st = load_room(room)
  if not st or st.sid ~= sid then
    return 1
  end
  local standing = standing_of(st)
  if standing == 'absent' then
    return 1
  end
  if standing == 'rested' or standing == 'quarantined' then
    if NOW - (st.looked or 0) < TIMES.rested_look_ms then
      return 0
    end
    st.looked = NOW
    settle(st)
    return 1
  end
  -- In neither set although it should be: a hand has been at the keys. The arrival that follows puts it right.
  local is_known = redis.call('ZSCORE', WAITING, room) or redis.call('ZSCORE', DUE, room)
  return is_known and 0 or 1
end

local answers = {}
for index = 4, #ARGV, 2 do
  answers[#answers + 1] = needs_a_look(ARGV[index], ARGV[index + 1])
end
return answers
