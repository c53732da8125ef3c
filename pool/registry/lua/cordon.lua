-- A carrier gets no more rooms, for good: ids are never used again.
-- ARGV: [4] carrier. Its record is made when Redis has none, so that a claim still on its way is refused.

cordon(ARGV[4])
return 1
