-- A person lifts a room's quarantine.
-- ARGV: [4] room.
-- Answers 1, or 0 when the room is not quarantined; then nothing changes.

local st = load_room(ARGV[4])
if not st or not st.quarantined then
  return 0
end
st.quarantined, st.not_before = nil, nil
forget_tries(st)
why(st.room, 'retried')
settle(st)
return 1
