-- What every verb of room state shares: the clock, the grace after Redis was away, and one room's hash.
--
-- ARGV of every verb: [1] key prefix, [2] the time in ms or '' for Redis' own, [3] Times as JSON, [4..] the verb's own.
-- Redis Cluster is not supported: keys are built from the prefix. Times are ms since 1970 by Redis' clock.
--
-- The rule of this file: a verb loads a room, changes its fields, and calls `settle`, which alone decides in which of
-- the sorted sets the room belongs. So `waiting` and `due` always follow from the hash, whatever was lost or repeated.

local PREFIX = ARGV[1]
local TIMES = cjson.decode(ARGV[3])
local WAITING, DUE, QUARANTINED = PREFIX .. 'waiting', PREFIX .. 'due', PREFIX .. 'quarantined'
local ALIVE, COUNTERS, CARRIERS = PREFIX .. 'alive', PREFIX .. 'counters', PREFIX .. 'carriers'

-- 14 digits are what cjson writes without loss; a stored number beyond them is not ours.
local MAX_NUMBER = 99999999999999
local MAX_CALLERS, MAX_GONE, MAX_ATTEMPTS, MAX_BARS = 64, 32, 64, 64
local STATE_VERSION = 1
local DAY_MS = 86400000

local function clock()
  if ARGV[2] ~= '' then
    return tonumber(ARGV[2])
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local NOW = clock()

local function whole(number)
  return string.format('%.0f', number)
end

local function count(counter)
  redis.pcall('HINCRBY', COUNTERS, counter, 1)
end

-- One line of the room's story for `roompool why`. Facts are names and numbers of ours, never identities or words.
local function why(room, event, ...)
  local key = PREFIX .. 'why:' .. room
  local line = redis.pcall('XADD', key, 'MAXLEN', '~', TIMES.why_entries, '*', 'e', event, ...)
  if type(line) == 'table' and line.err then -- somebody's key of another type; the story begins anew
    redis.call('DEL', key)
    redis.call('XADD', key, 'MAXLEN', '~', TIMES.why_entries, '*', 'e', event, ...)
  end
  redis.call('PEXPIRE', key, TIMES.why_ms)
end

-- Every script says that Redis answers. Silence means that owners could not renew, so they get one ttl to come back:
-- GRACE_UNTIL holds back rooms whose owner's lease ended meanwhile; LOST_UNTIL also those created before Redis' data
-- was lost (LOST_AT), because nobody can know whether they had an owner.
local function touch_alive()
  local row = redis.pcall('HMGET', ALIVE, 'at', 'grace_until', 'lost_at', 'lost_until')
  if row.err then
    redis.call('DEL', ALIVE)
    row = {}
  end
  local at, grace_until = tonumber(row[1] or nil), tonumber(row[2] or nil) or 0
  local lost_at, lost_until = tonumber(row[3] or nil) or 0, tonumber(row[4] or nil) or 0
  if not at then
    lost_at, lost_until, grace_until = NOW, NOW + TIMES.ttl_ms, NOW + TIMES.ttl_ms
  elseif NOW - at > TIMES.ttl_ms / 2 then
    grace_until = NOW + TIMES.ttl_ms
    if lost_until > at then -- away again before the owners had their time
      lost_until = grace_until
    end
  end
  redis.call('HSET', ALIVE, 'at', whole(NOW), 'grace_until', whole(grace_until), 'lost_at', whole(lost_at),
    'lost_until', whole(lost_until))
  return grace_until, lost_at, lost_until
end

local GRACE_UNTIL, LOST_AT, LOST_UNTIL = touch_alive()

local function is_finished(sid)
  return redis.call('EXISTS', PREFIX .. 'finished:' .. sid) == 1
end

-- Numbers, lists and maps as they are stored. Each parser answers nil for what we cannot have written.
local function parse_number(text)
  if string.find(text, '^%d+$') and tonumber(text) <= MAX_NUMBER then
    return tonumber(text)
  end
end

local function parse_table(text)
  local good, value = pcall(cjson.decode, text)
  if good and type(value) == 'table' then
    return value
  end
end

-- A table whose keys are all of one kind and whose items all pass, and which is no longer than we write it.
local function is_table_of(value, key_kind, is_item, limit)
  if type(value) ~= 'table' then
    return false
  end
  local length = 0
  for key, item in pairs(value) do
    length = length + 1
    if type(key) ~= key_kind or not is_item(item) or length > limit then
      return false
    end
  end
  return key_kind ~= 'number' or length == #value
end

local function is_string(item)
  return type(item) == 'string'
end

local function is_time(item)
  return type(item) == 'number' and item == math.floor(item) and item >= 0 and item <= MAX_NUMBER
end

local function parse_callers(text)
  local callers = parse_table(text)
  return is_table_of(callers, 'string', is_time, MAX_CALLERS) and callers or nil
end

local function parse_gone(text)
  local gone = parse_table(text)
  return is_table_of(gone, 'number', is_string, MAX_GONE) and gone or nil
end

local function parse_attempts(text)
  local attempts = parse_table(text)
  return is_table_of(attempts, 'number', is_time, MAX_ATTEMPTS) and attempts or nil
end

local function parse_rested(text)
  local rested = parse_table(text)
  local good = rested and is_time(rested.upto) and is_table_of(rested.sids, 'number', is_string, MAX_CALLERS)
  return good and rested or nil
end

local function parse_text(text)
  return text
end

local PARSERS = {
  sid = parse_text, created = parse_number, callers = parse_callers, gone = parse_gone,
  owner = parse_text, fence = parse_number, ['until'] = parse_number, claimed = parse_number,
  attempts = parse_attempts, rested = parse_rested, quarantined = parse_number, wanted = parse_number, queued = parse_number,
  not_before = parse_number, looked = parse_number,
}

-- A room state nobody can read (corrupt, or from a newer version) must not stop the next room: it is kept for a
-- person to look at, and the room begins anew with its next webhook, renewal or reconciliation.
local function set_aside(room, reason)
  local aside = PREFIX .. 'set_aside:' .. room
  redis.call('RENAME', PREFIX .. 'room:' .. room, aside)
  redis.call('PEXPIRE', aside, DAY_MS)
  redis.call('ZREM', WAITING, room)
  redis.call('ZREM', DUE, room)
  redis.call('ZREM', QUARANTINED, room)
  count('set_aside_rooms')
  why(room, 'set_aside', 'reason', reason)
end

-- The fields of a stored hash, or nil and the reason why it cannot be one of ours.
local function parse_room(raw)
  if raw.v ~= tostring(STATE_VERSION) then
    return nil, 'version'
  end
  local st, bars = { bars = {} }, 0
  for field, text in pairs(raw) do
    local parser = PARSERS[field]
    if parser then
      local value = parser(text)
      if value == nil then
        return nil, field
      end
      st[field] = value
    elseif string.sub(field, 1, 4) == 'bar:' then
      local bar = parse_number(text)
      bars = bars + 1
      if not bar or bars > MAX_BARS then
        return nil, 'bar'
      end
      st.bars[string.sub(field, 5)] = bar
    end
  end
  if not st.sid or not st.created or (st.owner and not (st.fence and st['until'])) then
    return nil, 'incomplete'
  end
  return st
end

local function fresh_room(room, sid, created)
  return { room = room, raw = {}, sid = sid, created = created, callers = {}, gone = {}, attempts = {}, bars = {} }
end

-- The room's state, or nil when there is none (any more).
local function load_room(room)
  local flat = redis.pcall('HGETALL', PREFIX .. 'room:' .. room)
  if flat.err then
    set_aside(room, 'type')
    return nil
  end
  if #flat == 0 then
    return nil
  end
  local raw = {}
  for index = 1, #flat, 2 do
    raw[flat[index]] = flat[index + 1]
  end
  local st, reason = parse_room(raw)
  if not st then
    set_aside(room, reason)
    return nil
  end
  st.room, st.raw = room, raw
  st.callers, st.gone = st.callers or {}, st.gone or {}
  local recent = {}
  for _, at in ipairs(st.attempts or {}) do
    if at > NOW - TIMES.attempts_window_ms then
      recent[#recent + 1] = at
    end
  end
  st.attempts = recent
  return st
end

local function encoded(st)
  local fields = { v = tostring(STATE_VERSION), sid = st.sid, owner = st.owner }
  for name, parser in pairs(PARSERS) do
    if parser == parse_number then
      fields[name] = st[name] and whole(st[name]) or nil
    end
  end
  for _, name in ipairs({ 'callers', 'gone', 'attempts' }) do
    fields[name] = next(st[name]) ~= nil and cjson.encode(st[name]) or nil
  end
  fields.rested = st.rested and cjson.encode(st.rested) or nil
  for carrier, bar in pairs(st.bars) do
    if bar > NOW then
      fields['bar:' .. carrier] = whole(bar)
    end
  end
  return fields
end

-- Writes what changed since `load_room`; a field we do not know is left alone.
local function save_room(st)
  local key, fields = PREFIX .. 'room:' .. st.room, encoded(st)
  local set, gone = {}, {}
  for field, text in pairs(fields) do
    if st.raw[field] ~= text then
      set[#set + 1] = field
      set[#set + 1] = text
    end
  end
  for field in pairs(st.raw) do
    if not fields[field] and (PARSERS[field] or string.sub(field, 1, 4) == 'bar:') then
      gone[#gone + 1] = field
    end
  end
  if #set > 0 then
    redis.call('HSET', key, unpack(set))
  end
  if #gone > 0 then
    redis.call('HDEL', key, unpack(gone))
  end
  st.raw = fields
end

local function contains(list, item)
  for _, other in ipairs(list) do
    if other == item then
      return true
    end
  end
  return false
end

local function size(map)
  local length = 0
  for _ in pairs(map) do
    length = length + 1
  end
  return length
end

-- Bounded maps: sid -> joined ms. The one who joined longest ago makes room, equal times by sid.
local function drop_oldest(callers, limit)
  local excess = size(callers) - limit
  for _ = 1, excess do
    local oldest
    for sid, joined in pairs(callers) do
      if not oldest or joined < callers[oldest] or (joined == callers[oldest] and sid < oldest) then
        oldest = sid
      end
    end
    callers[oldest] = nil
  end
end

local function add_caller(st, sid, joined)
  st.callers[sid] = joined
  drop_oldest(st.callers, MAX_CALLERS)
end

-- The participant is gone for good (a sid never returns), so a late arrival of it is known to be late.
local function remember_gone(st, sid)
  st.callers[sid] = nil
  if not contains(st.gone, sid) then
    st.gone[#st.gone + 1] = sid
    while #st.gone > MAX_GONE do
      table.remove(st.gone, 1)
    end
  end
end

-- Whether somebody in the room wants an agent: anybody, or in a rested room only who came after those served.
local function is_awaited(st)
  if not st.rested then
    return next(st.callers) ~= nil
  end
  for sid, joined in pairs(st.callers) do
    if joined > st.rested.upto and not contains(st.rested.sids, sid) then
      return true
    end
  end
  return false
end

local function clear_owner(st)
  redis.call('SREM', PREFIX .. 'held:' .. st.owner, st.room)
  st.owner, st['until'] = nil, nil
end

local function set_owner(st, carrier, fence)
  if st.owner and st.owner ~= carrier then
    clear_owner(st)
  end
  local held = PREFIX .. 'held:' .. carrier
  redis.call('SADD', held, st.room)
  redis.call('PEXPIRE', held, DAY_MS)
  st.owner, st.fence, st['until'] = carrier, fence, NOW + TIMES.ttl_ms
  st.not_before, st.queued = nil, nil
end

local function add_attempt(st)
  st.attempts[#st.attempts + 1] = NOW
  while #st.attempts > MAX_ATTEMPTS do
    table.remove(st.attempts, 1)
  end
end

-- A carrier may not have this room for a while. The bars that end first make room.
local function add_bar(st, carrier, bar_until)
  st.bars[carrier] = bar_until
  drop_oldest(st.bars, MAX_BARS)
end

-- Puts the next try off, by how many there were of late.
local function back_off(st)
  local steps = TIMES.backoff_ms
  local wait = steps[math.min(math.max(#st.attempts, 1), #steps)] or 0
  st.not_before = wait > 0 and NOW + wait or nil
end

-- Where the room belongs by its fields, and when somebody must look again. Pure, but for the tombstone.
local function standing_of(st)
  if st.owner then
    if st['until'] > NOW then
      return 'owned', st['until']
    end
    if NOW < GRACE_UNTIL then
      return 'lapsed', GRACE_UNTIL -- its owner may come back first
    end
    return 'ended'
  end
  if is_finished(st.sid) then
    return 'finished'
  end
  if st.quarantined then
    return 'quarantined'
  end
  if next(st.callers) == nil then
    return 'absent'
  end
  if not is_awaited(st) then
    return 'rested'
  end
  if NOW < LOST_UNTIL and st.created < LOST_AT then
    return 'held_back', LOST_UNTIL
  end
  if st.not_before and st.not_before > NOW then
    return 'backing_off', st.not_before
  end
  return 'waiting'
end

local WAITS = { waiting = true, backing_off = true, held_back = true, lapsed = true }
local EXPIRES_MS = {
  finished = TIMES.finished_ms, absent = TIMES.finished_ms,
  rested = DAY_MS, quarantined = DAY_MS, -- `unowned` renews these while LiveKit still lists the room
}

local function end_lease(st)
  why(st.room, 'lease_ended', 'carrier', st.owner, 'fence', whole(st.fence))
  count('leases_ended')
  clear_owner(st)
  back_off(st)
end

local function index(set, room, score)
  if score then
    return redis.call('ZADD', set, whole(score), room) == 1
  end
  redis.call('ZREM', set, room)
  return false
end

-- Ends what has ended, stores the room and puts it where it belongs.
-- Returns its standing, and whether it has become claimable just now.
local function settle(st)
  local standing, due_at = standing_of(st)
  if standing == 'ended' then
    end_lease(st)
    standing, due_at = standing_of(st)
  end
  if WAITS[standing] and #st.attempts >= TIMES.quarantine_after and not st.owner then
    st.quarantined = NOW
    count('rooms_quarantined')
    why(st.room, 'quarantined', 'attempts', #st.attempts)
    standing, due_at = 'quarantined', nil
  end
  if WAITS[standing] then
    st.wanted, st.queued = st.wanted or NOW, st.queued or NOW
  elseif standing ~= 'owned' then
    st.wanted, st.queued, st.not_before = nil, nil, nil
  end
  save_room(st)
  local key = PREFIX .. 'room:' .. st.room
  if EXPIRES_MS[standing] then
    redis.call('PEXPIRE', key, EXPIRES_MS[standing])
  else
    redis.call('PERSIST', key)
  end
  index(DUE, st.room, due_at)
  index(QUARANTINED, st.room, st.quarantined)
  local is_new = index(WAITING, st.room, standing == 'waiting' and st.wanted or nil)
  if is_new then
    why(st.room, 'waiting', 'since', whole(st.wanted))
  end
  return standing, is_new
end
