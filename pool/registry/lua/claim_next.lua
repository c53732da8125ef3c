-- Grants one carrier the room that has waited longest among those it may have.
-- ARGV: [4] carrier, [5] capacity: rooms it may hold.
-- Answers { 'cordoned' | 'draining' | 'full' | 'nothing' }, or
-- { 'granted', room, sid, created, fence, attempt, wanted, queued, callers as JSON, now }.
-- A carrier without a record may claim: after loss of Redis' data nobody has one. `in_use` is the number of rooms whose
-- owner the carrier is, and not a counter that could drift. An ended lease counts while its owner may still renew it.

local carrier, capacity = ARGV[4], tonumber(ARGV[5])
local CHUNK, MOST_LOOKED_AT = 32, 512

touch_alive()

local record = redis.pcall('HMGET', PREFIX .. 'carrier:' .. carrier, 'cordoned', 'draining')
if record.err then
  record = {}
end
if record[1] == '1' then
  return { 'cordoned' }
elseif record[2] == '1' then
  return { 'draining' }
end

local function in_use()
  local held = PREFIX .. 'held:' .. carrier
  claim_key(held, 'set')
  local live = 0
  for _, room in ipairs(redis.call('SMEMBERS', held)) do
    local st = load_room(room)
    if st and st.owner == carrier and st['until'] <= NOW then
      settle(st)
    end
    if st and st.owner == carrier then
      live = live + 1
    else
      redis.call('SREM', held, room)
    end
  end
  return live
end

if in_use() >= capacity then
  return { 'full' }
end

local function grant(st)
  local fence, queued = math.max((st.fence or 0) + 1, NOW), st.queued
  set_owner(st, carrier, fence)
  st.claimed = NOW
  add_attempt(st.attempts, NOW)
  settle(st)
  count('rooms_claimed')
  why(st.room, 'claimed', 'carrier', carrier, 'fence', whole(fence), 'attempt', tries(st),
    'waited_ms', whole(NOW - queued))
  return { 'granted', st.room, st.sid, whole(st.created), whole(fence), tries(st), whole(st.wanted), whole(queued),
    cjson.encode(st.callers), whole(NOW) }
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
      if (st.bars[carrier] or 0) <= NOW then
        return grant(st)
      end
      passed = passed + 1
    end
  end
end
return { 'nothing' }
