-- A person, or a deployment, wants a worker to take no more calls. Kept for a day.
-- ARGV: [4] worker.
-- Answers how many carriers of it are known. Each is told by its next beat, and given no room from now on.

local worker = ARGV[4]

redis.call('SET', PREFIX .. 'drained:' .. worker, '1', 'PX', DAY_MS)
local known = 0
for _, carrier in ipairs(redis.call('ZRANGE', CARRIERS, 0, -1)) do
  local row = redis.pcall('HGET', PREFIX .. 'carrier:' .. carrier, 'worker')
  if row == worker then
    known = known + 1
  end
end
return known
