-- Grants one carrier the room that has waited longest among those it may have.
-- ARGV: [4] carrier, [5] capacity: rooms it may hold.
-- Answers { 'cordoned' | 'draining' | 'full' | 'nothing' }, or
-- { 'granted', room, sid, created, fence, attempt, wanted, queued, callers as JSON, now, memory: a list of texts }.
-- A carrier without a record may claim: after loss of Redis' data nobody has one. `in_use` is the number of rooms whose
-- owner the carrier is, and of those it is asked to stand by for; not a counter that could drift.

local carrier, capacity = ARGV[4], tonumber(ARGV[5])
local CHUNK, MOST_LOOKED_AT = 32, 512

touch_alive()

local record = record_of(carrier)
if record.is_cordoned then
  return { 'cordoned' }
elseif record.is_draining then
  return { 'draining' }
end

if in_use(carrier) >= capacity then
  return { 'full' }
end

local function grant(st)
  local fence, queued = math.max((st.fence or 0) + 1, NOW), st.queued
  set_owner(st, carrier, fence)
  st.claimed, st.hangup, st.passed, st.met, st.expected = NOW, nil, nil, nil, nil
  st.rested = nil -- the agent that comes for a newcomer is there for all
  st.prepared = NOW -- where nobody is yet, nobody is failed
  if next(st.callers) ~= nil then
    count_claim(st)
  end
  settle(st)
  count('rooms_claimed')
  why(st.room, 'claimed', 'carrier', carrier, 'fence', whole(fence), 'attempt', math.max(tries(st), 1),
    'waited_ms', whole(NOW - queued))
  return granted(st, queued)
end

local passed, looked_at = 0, 0 -- `passed`: rooms before us in the order that stay there, barred for this carrier
while looked_at < MOST_LOOKED_AT do
  local rooms = redis.call('ZRANGE', WAITING, passed, passed + CHUNK - 1)
  if #rooms == 0 then
    break
  end
  for _, room in ipairs(rooms) do
    looked_at = looked_at + 1
    local st = load_room(room)
    if not st then
      redis.call('ZREM', WAITING, room)
    elseif settle(st) == 'waiting' then
      if not is_barred(st, record) then
        return grant(st)
      end
      passed = passed + 1
    end
  end
end
return { 'nothing' }
