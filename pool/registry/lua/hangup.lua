-- A person asks to end the call in a room.
-- ARGV: [4] room.
-- Answers: 'nobody' (unknown, over, or no caller noted and no owner; nothing changes), 'asked' (its owner is told by its
-- next renewal, and rests the room), 'rested' (nobody held it: it rests for whoever is noted as present).
-- Should the owner die first, or give the room back, the room rests all the same. An owner that Redis has forgotten is
-- told when it comes back. Whoever joins later is served.

local room = ARGV[4]

local st = load_room(room)
if not st or is_finished(st.sid) then
  return 'nobody'
end
settle(st) -- an owner whose lease has ended is asked nothing
if not st.owner and next(st.callers) == nil then
  return 'nobody'
end
st.hangup = NOW
if st.owner then
  why(room, 'hangup_asked', 'carrier', st.owner, 'fence', whole(st.fence))
  drop_offer(st)
  settle(st)
  return 'asked'
end
rest(st, st.callers)
why(room, 'hung_up', 'callers', size(st.callers))
settle(st)
return 'rested'
