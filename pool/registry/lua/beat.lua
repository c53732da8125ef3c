-- A carrier says that it lives.
-- ARGV: [4] carrier, [5..] fields and values of its record. A cordon laid on it stays.

local key = PREFIX .. 'carrier:' .. ARGV[4]
local fields = { 'beat', whole(NOW) }
for index = 5, #ARGV do
  fields[#fields + 1] = ARGV[index]
end
local reply = redis.pcall('HSET', key, unpack(fields))
if type(reply) == 'table' and reply.err then -- somebody's key of another type
  redis.call('DEL', key)
  redis.call('HSET', key, unpack(fields))
end
redis.call('PEXPIRE', key, TIMES.carrier_ms)
redis.call('ZADD', CARRIERS, whole(NOW), ARGV[4])
return 1
