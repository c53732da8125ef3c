-- A carrier says that it lives.
-- ARGV: [4] carrier, [5..] fields and values of its record. A cordon laid on it stays.

local key = PREFIX .. 'carrier:' .. ARGV[4]
local fields = { 'beat', whole(NOW) }
for index = 5, #ARGV do
  fields[#fields + 1] = ARGV[index]
end
claim_key(key, 'hash')
redis.call('HSET', key, unpack(fields))
redis.call('PEXPIRE', key, TIMES.carrier_ms)
redis.call('ZADD', CARRIERS, whole(NOW), ARGV[4])
return 1
