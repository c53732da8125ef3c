-- What a carrier has, and whether it may have more. Both `held:` and `standby:` are believed only as far as the rooms
-- bear them out; what they do not is dropped.

local FRESH_BEAT_MS = 6000 -- three beats
local MOST_STANDBYS = 2

local function is_drained(worker)
  return redis.call('EXISTS', PREFIX .. 'drained:' .. worker) == 1
end

local function cordon(carrier)
  local key = PREFIX .. 'carrier:' .. carrier
  claim_key(key, 'hash')
  redis.call('HSET', key, 'cordoned', '1')
  redis.call('PEXPIRE', key, TIMES.carrier_ms)
  redis.call('ZADD', CARRIERS, 'NX', whole(NOW), carrier)
end

-- The fields of its record that decisions rest on; without a record all are empty.
local function record_of(carrier)
  local row = redis.pcall('HMGET', PREFIX .. 'carrier:' .. carrier, 'cordoned', 'draining', 'worker', 'revision',
    'capacity', 'worker_started_unix_ms', 'in_use')
  if row.err then
    row = {}
  end
  local worker = row[3] or ''
  return {
    id = carrier, is_cordoned = row[1] == '1', is_draining = row[2] == '1' or (worker ~= '' and is_drained(worker)),
    worker = worker, revision = row[4] or '', capacity = parse_number(row[5] or '') or 0,
    worker_started = parse_number(row[6] or '') or 0, in_use = parse_number(row[7] or '') or 0,
  }
end

local function rooms_in(key)
  claim_key(key, 'set')
  return redis.call('SMEMBERS', key)
end

-- The rooms whose owner the carrier is. An ended lease counts while its owner may still renew it.
local function owned_by(carrier)
  local held, owned = PREFIX .. 'held:' .. carrier, {}
  for _, room in ipairs(rooms_in(held)) do
    local st = load_room(room)
    if st and st.owner == carrier and st['until'] <= NOW then
      settle(st)
    end
    if st and st.owner == carrier then
      owned[#owned + 1] = st
    else
      redis.call('SREM', held, room)
    end
  end
  return owned
end

-- The rooms it is asked to stand by for: slots that are reserved.
local function stands_by_for(carrier)
  local standby, rooms = PREFIX .. 'standby:' .. carrier, {}
  for _, room in ipairs(rooms_in(standby)) do
    local st = load_room(room)
    if st and offer_stands(st) and st.offer.next == carrier then
      rooms[#rooms + 1] = st
    else
      redis.call('SREM', standby, room)
    end
  end
  return rooms
end

local function drop_standbys(carrier)
  for _, st in ipairs(stands_by_for(carrier)) do
    drop_offer(st)
    settle(st)
  end
end

local function in_use(carrier)
  return #owned_by(carrier) + #stands_by_for(carrier)
end

-- Carriers that beat of late. One that beat in the future did so before Redis' clock was set back.
local function live_carriers()
  local first = whole(math.max(NOW - FRESH_BEAT_MS, 0))
  return redis.call('ZRANGEBYSCORE', CARRIERS, first, whole(NOW))
end

local function is_live(carrier)
  local beat = tonumber(redis.call('ZSCORE', CARRIERS, carrier) or 0)
  return beat >= NOW - FRESH_BEAT_MS and beat <= NOW
end

-- Whether a carrier may not have a room now. A bar of its worker holds only while another worker could take the room:
-- siblings share a machine, a network and keys, and would most likely fail alike; but one that may is better than none.
local function is_barred(st, record)
  if (st.bars[record.id] or 0) > NOW then
    return true
  end
  if record.worker == '' or (st.bars[record.worker] or 0) <= NOW then
    return false
  end
  for _, id in ipairs(live_carriers()) do
    local other = record_of(id)
    local is_serving = not other.is_cordoned and not other.is_draining and other.in_use < other.capacity
    local is_free = (st.bars[id] or 0) <= NOW and (other.worker == '' or (st.bars[other.worker] or 0) <= NOW)
    if other.worker ~= record.worker and is_serving and is_free then
      return true
    end
  end
  return false
end

-- Whether an owner may hand a room over to this carrier, its slots apart.
local function may_take_over(record, owner)
  if record.id == owner.id or record.is_cordoned or record.is_draining then
    return false
  end
  local is_sibling = record.worker ~= '' and record.worker == owner.worker
  return not (is_sibling and owner.is_draining) -- the whole worker is about to
end

-- The grant of a room as it goes over the wire.
local function granted(st, queued)
  return { 'granted', st.room, st.sid, whole(st.created), whole(st.fence), math.max(tries(st), 1), whole(st.wanted or NOW),
    whole(queued), cjson.encode(st.callers), whole(NOW), memory_of(st) }
end

-- A room that somebody is asked to stand by for, as JSON.
local function offer_json(st)
  local answer = { room = st.room, sid = st.sid, created = st.created, fence = st.fence, owner = st.owner,
    callers = st.callers }
  return { cjson.encode(answer), memory_of(st) }
end
