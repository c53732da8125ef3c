-- A carrier has ended. What it still held is left to its lease; whoever asked it to stand by asks somebody else.
-- ARGV: [4] carrier.

drop_standbys(ARGV[4])
redis.call('DEL', PREFIX .. 'carrier:' .. ARGV[4])
redis.call('ZREM', CARRIERS, ARGV[4])
return 1
