-- The carriers that Redis knows, the one that beat last first. Forgets those whose record has expired.
-- Answers JSON objects: the record's fields as strings, with `id`, `now`, `leases`: the rooms it owns by live leases,
-- `reservations`: those it is asked to stand by for, and `drained`: whether its worker is to drain. Changes no room.

local function count_rooms(kind, carrier, is_its)
  local number, rooms = 0, redis.pcall('SMEMBERS', PREFIX .. kind .. carrier)
  for _, room in ipairs(rooms.err and {} or rooms) do
    local st = load_room(room)
    if st and is_its(st) then
      number = number + 1
    end
  end
  return number
end

local answers = {}
for _, carrier in ipairs(redis.call('ZREVRANGE', CARRIERS, 0, -1)) do
  local flat = redis.pcall('HGETALL', PREFIX .. 'carrier:' .. carrier)
  if flat.err or #flat == 0 then
    redis.call('ZREM', CARRIERS, carrier)
  else
    local record = {}
    for index = 1, #flat, 2 do
      record[flat[index]] = flat[index + 1]
    end
    record.id, record.now = carrier, NOW
    record.drained = (record.worker or '') ~= '' and is_drained(record.worker)
    record.leases = count_rooms('held:', carrier, function(st)
      return st.owner == carrier and st['until'] > NOW
    end)
    record.reservations = count_rooms('standby:', carrier, function(st)
      return offer_stands(st) and st.offer.next == carrier
    end)
    answers[#answers + 1] = cjson.encode(record)
  end
end
return answers
