-- Looks at the rooms whose time has come: a lease ended, a back-off or a grace is over; and at those whose time is set
-- further ahead than it can be, since before Redis' clock was set back.
-- ARGV: [4] at most so many rooms of each.
-- Answers the number of rooms that became claimable.

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

return settle_between('-inf', whole(NOW)) + settle_between('(' .. whole(LATEST_END), '+inf')
