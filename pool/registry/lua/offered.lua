-- Whether a carrier is still asked to stand by for a room.
-- ARGV: [4] carrier, [5] room, [6] the owner's fence.
-- Answers 1 or 0. The list that the grant will come by is a list afterwards, whatever a stranger put there.

local carrier, room, fence = ARGV[4], ARGV[5], tonumber(ARGV[6])

claim_key(PREFIX .. 'passed:' .. carrier .. ':' .. room .. ':' .. whole(fence), 'list')
return is_offered_to(load_room(room), carrier, fence) and 1 or 0
