-- LiveKit closed this life of the room. It never comes back: the tombstone stands in every case.
-- ARGV: [4] room, [5] room sid.
-- Answers: 'absent' (unknown room), 'stale' (another life is stored, nothing else changes), 'closed'.
-- An owner keeps its lease until it releases or lets it end; its renewal is answered: over.

local room, sid = ARGV[4], ARGV[5]
local is_news = not is_finished(sid)
redis.call('SET', PREFIX .. 'finished:' .. sid, '1', 'PX', TIMES.finished_ms)

local st = load_room(room)
if not st then
  return 'absent'
end
if st.sid ~= sid then
  return 'stale'
end
st.callers, st.hangup, st.expected = {}, nil, nil
drop_offer(st)
if is_news then
  why(room, 'finished', 'sid', sid)
end
settle(st)
return 'closed'
