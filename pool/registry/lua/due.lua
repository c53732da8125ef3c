-- Looks at the rooms whose time has come: a lease ended, a back-off or a grace is over.
-- ARGV: [4] at most so many rooms.
-- Answers the number of rooms that became claimable.

touch_alive()

local claimable = 0
for _, room in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', whole(NOW), 'LIMIT', 0, tonumber(ARGV[4]))) do
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
