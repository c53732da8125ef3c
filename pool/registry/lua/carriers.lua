-- The carriers that Redis knows, the one that beat last first. Forgets those whose record has expired.
-- Answers JSON objects: the record's fields as strings, with `id`, `now` and `leases`: the rooms it owns by live leases.

local function live_leases(carrier)
  local live, rooms = 0, redis.pcall('SMEMBERS', PREFIX .. 'held:' .. carrier)
  for _, room in ipairs(rooms.err and {} or rooms) do
    local st = load_room(room)
    if st and st.owner == carrier and st['until'] > NOW then
      live = live + 1
    end
  end
  return live
end

local answers = {}
for _, carrier in ipairs(redis.call('ZREVRANGE', CARRIERS, 0, -1)) do
  local flat = redis.pcall('HGETALL', PREFIX .. 'carrier:' .. carrier)
  if flat.err or #flat == 0 then
    redis.call('ZREM', CARRIERS, carrier)
  else
    local record = { id = carrier, now = NOW, leases = live_leases(carrier) }
    for index = 1, #flat, 2 do
      record[flat[index]] = flat[index + 1]
    end
    answers[#answers + 1] = cjson.encode(record)
  end
end
return answers
