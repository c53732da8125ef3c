-- A carrier gets no more rooms, for good: ids are never used again.
-- ARGV: [4] carrier. Its record is made when Redis has none, so that a claim still on its way is refused.

local key = PREFIX .. 'carrier:' .. ARGV[4]
claim_key(key, 'hash')
redis.call('HSET', key, 'cordoned', '1')
redis.call('PEXPIRE', key, TIMES.carrier_ms)
redis.call('ZADD', CARRIERS, 'NX', whole(NOW), ARGV[4])
return 1
