-- A carrier says that it lives.
-- ARGV: [4] carrier, [5..] fields and values of its record. A cordon laid on it stays.
-- Answers 1 when it should drain: its worker is to, or it is cordoned; else 0.

local key = PREFIX .. 'carrier:' .. ARGV[4]
local fields = { 'beat', whole(NOW) }
for index = 5, #ARGV do
  fields[#fields + 1] = ARGV[index]
end
claim_key(key, 'hash')
redis.call('HSET', key, unpack(fields))
redis.call('PEXPIRE', key, TIMES.carrier_ms)
redis.call('ZADD', CARRIERS, whole(NOW), ARGV[4])

local record = record_of(ARGV[4])
return (record.is_cordoned or (record.worker ~= '' and is_drained(record.worker))) and 1 or 0
