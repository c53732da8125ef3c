-- A carrier's process has ended, says its parent: no room for it any more, and its leases end now.
-- ARGV: [4] carrier.
-- Answers the rooms it owned. A claim of it still on its way finds a cordon, a renewal finds the room lost.
-- When there are rooms in which it was not known to have met anybody yet, joining one of those is the likeliest thing it
-- died of: the others are cleared, however young, or a poison room would take along into quarantine whoever is moved
-- from carrier to carrier with it.

local carrier = ARGV[4]

cordon(carrier)
drop_standbys(carrier)
local owned, freed, was_joining = owned_by(carrier), {}, false
for _, st in ipairs(owned) do
  was_joining = was_joining or not st.met
end
for _, st in ipairs(owned) do
  end_lease(st, 'reaped', NOW, was_joining and st.met)
  settle(st)
  freed[#freed + 1] = st.room
end
count('carriers_reaped')
table.sort(freed)
return freed
