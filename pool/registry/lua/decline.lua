-- Who was asked to stand by cannot: its slot is free again, and the owner may ask somebody else.
-- ARGV: [4] carrier, [5] room, [6] the owner's fence, [7] bar ms: for so long it is not asked for this room again.
-- Answers 1, or 0 when the offer is gone; then nothing changes.

local carrier, room, fence, bar_ms = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])

local st = load_room(room)
if not is_offered_to(st, carrier, fence) then
  return 0
end
drop_offer(st)
if bar_ms > 0 then
  decline_for(st, carrier, bar_ms)
end
why(room, 'declined', 'carrier', carrier, 'fence', whole(fence), 'bar_ms', bar_ms)
settle(st)
return 1
