-- A participant has left the room, a caller or not.
-- ARGV: [4] room, [5] room sid, [6] participant sid.
-- Answers: 'finished' (this life is over, nothing changes), 'stale' (another life is stored, nothing changes),
-- 'absent' (the room was unknown; remembered for an hour, so that the arrival coming late is ignored), else 'left'.
-- A room without callers and without a live owner neither waits nor is due. An owner sees for itself who is in the room.
-- When the last caller leaves, the talk ends with its owner: `emptied` says so until the owner has renewed for
-- `emptied_ms`, which one does that waits for its caller to come back.

local room, sid, participant = ARGV[4], ARGV[5], ARGV[6]

if is_finished(sid) then
  return 'finished'
end

local st = load_room(room)
if not st then
  st = fresh_room(room, sid, 0)
  remember_gone(st, participant)
  settle(st)
  return 'absent'
end
if st.sid ~= sid then
  return 'stale'
end

local was_caller = st.callers[participant] ~= nil
remember_gone(st, participant)
if was_caller then
  why(room, 'left', 'callers', size(st.callers))
  if next(st.callers) == nil then
    if st.owner then
      st.emptied = NOW
    else
      forget_talk(st)
    end
  end
end
settle(st)
return 'left'
