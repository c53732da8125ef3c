-- A carrier has ended. What it still held is left to its lease.
-- ARGV: [4] carrier.

redis.call('DEL', PREFIX .. 'carrier:' .. ARGV[4])
redis.call('ZREM', CARRIERS, ARGV[4])
return 1
