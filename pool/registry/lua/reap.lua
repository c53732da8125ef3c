-- A carrier's process has ended, says its parent: no room for it any more, and its leases end now.
-- ARGV: [4] carrier.
-- Answers the rooms it owned. A claim of it still on its way finds a cordon, a renewal finds the room lost.

local carrier = ARGV[4]

cordon(carrier)
for _, st in ipairs(stands_by_for(carrier)) do
  drop_offer(st)
  settle(st)
end
local freed = {}
for _, st in ipairs(owned_by(carrier)) do
  end_lease(st, 'reaped', NOW)
  settle(st)
  freed[#freed + 1] = st.room
end
count('carriers_reaped')
table.sort(freed)
return freed
