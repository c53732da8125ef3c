-- Looks at the rooms whose time has come: a lease ended, a back-off or a grace is over; and at those whose time is set
-- further ahead than it can be, since before Redis' clock was set back.
-- ARGV: [4] at most so many rooms of each, [5] the carrier that asks, or ''.
-- Answers { rooms that became claimable, { { offer as JSON, memory }, ... } }: what this carrier is asked to stand by for.

touch_alive()

local function settle_between(first, last)
  local claimable = 0
  for _, room in ipairs(redis.call('ZRANGEBYSCORE', DUE, first, last, 'LIMIT', 0, tonumber(ARGV[4]))) do
    local st = load_room(room)
    if not st then
      redis.call('ZREM', DUE, room)
    else
      local _, is_new = settle(st)
      if is_new then
        claimable = claimable + 1
      end
    end
  end
  return claimable
end

local claimable = settle_between('-inf', whole(NOW)) + settle_between('(' .. whole(LATEST_END), '+inf')
local offers = {}
if ARGV[5] ~= '' then
  for _, st in ipairs(stands_by_for(ARGV[5])) do
    offers[#offers + 1] = offer_json(st)
  end
end
return { claimable, offers }
