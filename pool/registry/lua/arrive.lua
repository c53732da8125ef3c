-- A caller is in the room.
-- ARGV: [4] room, [5] room sid, [6] created ms, [7] participant sid, [8] joined ms.
-- Answers: 'finished' (this life is over, nothing changes), 'stale' (a later life is known, nothing changes), 'gone' (this
-- participant has left already, nothing changes), else where the room now stands: 'owned', 'rested', 'quarantined' or 'waiting'.
-- The same arrival twice, or late, does no harm. Of two lives of a name the one created later wins, equal times: the later call.

local room, sid, created, participant, joined = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])

if is_finished(sid) then
  why(room, 'arrived_late', 'reason', 'finished')
  return 'finished'
end

local st = life_of(load_room(room), room, sid, created)
if not st then
  why(room, 'arrived_late', 'reason', 'stale')
  return 'stale'
end

if contains(st.gone, participant) then
  return 'gone'
end

if not st.callers[participant] then
  add_caller(st, participant, joined)
  st.expected = nil
  count_claim(st)
  why(room, 'arrived', 'callers', size(st.callers))
end
local standing = settle(st)
if WAITS[standing] then
  return 'waiting'
end
return standing
