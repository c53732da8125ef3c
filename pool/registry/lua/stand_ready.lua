-- Who was asked to stand by for a room could go on with it this instant.
-- ARGV: [4] carrier, [5] room, [6] the owner's fence.
-- Answers 1, or 0 when the offer is gone (the room has another owner, it took too long, ...); then nothing changes.

local carrier, room, fence = ARGV[4], ARGV[5], tonumber(ARGV[6])

local st = load_room(room)
if not is_offered_to(st, carrier, fence) or is_finished(st.sid) then
  return 0
end
if not st.offer.ready then
  st.offer.ready = true
  why(room, 'standing_by', 'carrier', carrier, 'fence', whole(fence))
  settle(st)
end
return 1
