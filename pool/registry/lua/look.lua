-- One room as it stands, for people. Changes no room, but sets aside what nobody can read.
-- ARGV: [4] room.
-- Answers JSON: { now } for a room nobody named, else its fields with `standing` and, where it has one, `due`.

local st = load_room(ARGV[4])
if not st then
  return cjson.encode({ now = NOW })
end
local standing, due_at = standing_of(st)
st.raw, st.offer = nil, offer_stands(st) and st.offer or nil
st.standing, st.due, st.now = standing, due_at, NOW
return cjson.encode(st)
