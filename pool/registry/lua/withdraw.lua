-- An owner needs nobody to stand by any more.
-- ARGV: [4] carrier, [5] room, [6] fence.
-- Answers 1, or 0 when nobody is asked, or the room is not this owner's under this fence; then nothing changes.

local carrier, room, fence = ARGV[4], ARGV[5], tonumber(ARGV[6])

local st = load_room(room)
if not is_held_by(st, carrier, fence) or not offer_stands(st) then
  return 0
end
why(room, 'withdrawn', 'carrier', carrier, 'next', st.offer.next, 'fence', whole(fence))
drop_offer(st)
settle(st)
return 1
