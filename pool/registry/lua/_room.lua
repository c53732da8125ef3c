-- One room's hash: from what is stored to fields, and back. A verb loads a room, changes its fields, and settles it.

local function is_finished(sid)
  return redis.call('EXISTS', PREFIX .. 'finished:' .. sid) == 1
end

-- Lists and maps as they are stored. Each parser answers nil for what we cannot have written.
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

-- Who is asked to stand by, for the owner under which fence, until when, and whether it says that it is ready.
local function parse_offer(text)
  local offer = parse_table(text)
  local good = offer and is_string(offer.next) and is_time(offer.fence) and is_time(offer['until'])
  return good and { next = offer.next, fence = offer.fence, ['until'] = offer['until'], ready = offer.ready == true } or nil
end

-- The owner before this one, its fence, and the fence that its room was passed on with.
local function parse_passed(text)
  local passed = parse_table(text)
  local good = passed and is_string(passed.carrier) and is_time(passed.fence) and is_time(passed.to)
  return good and passed or nil
end

local function parse_text(text)
  return text
end

local PARSERS = {
  sid = parse_text, created = parse_number, callers = parse_callers, gone = parse_gone,
  owner = parse_text, fence = parse_number, ['until'] = parse_number, claimed = parse_number,
  attempts = parse_attempts, excused = parse_attempts, rested = parse_rested, quarantined = parse_number,
  wanted = parse_number, queued = parse_number, not_before = parse_number, looked = parse_number,
  expected = parse_number, prepared = parse_number, offer = parse_offer, declined = parse_callers, passed = parse_passed, hangup = parse_number, met = parse_number,
  emptied = parse_number,
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
  return { room = room, raw = {}, sid = sid, created = created, callers = {}, gone = {}, attempts = {}, excused = {},
    bars = {}, declined = {} }
end

local function recent(attempts)
  local kept = {}
  for _, at in ipairs(attempts) do
    if at > NOW - TIMES.attempts_window_ms then
      kept[#kept + 1] = math.min(at, NOW)
    end
  end
  return kept
end

-- The latest that a lease or back-off of this moment can end. What ends later was written before Redis' clock was set
-- back, and would hold a room whose owner is gone for as long as the clock was wrong.
local LATEST_END = NOW + math.max(TIMES.ttl_ms, unpack(TIMES.backoff_ms))
local LATEST = {
  ['until'] = NOW + TIMES.ttl_ms, not_before = LATEST_END,
  expected = NOW + TIMES.expected_ms, claimed = NOW, quarantined = NOW, wanted = NOW, queued = NOW, looked = NOW, hangup = NOW,
  emptied = NOW,
}

local function draw_to_now(st)
  for name, latest in pairs(LATEST) do
    st[name] = st[name] and math.min(st[name], latest)
  end
  for carrier, bar in pairs(st.bars) do
    st.bars[carrier] = math.min(bar, NOW + TIMES.attempts_window_ms)
  end
  for carrier, bar in pairs(st.declined) do
    st.declined[carrier] = bar > NOW and math.min(bar, NOW + TIMES.attempts_window_ms) or nil
  end
  if st.offer then
    st.offer['until'] = math.min(st.offer['until'], NOW + TIMES.offer_ms)
  end
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
  st.room, st.raw, st.declined = room, raw, st.declined or {}
  draw_to_now(st)
  st.callers, st.gone = st.callers or {}, st.gone or {}
  st.attempts, st.excused = recent(st.attempts or {}), recent(st.excused or {})
  return st
end

local function encoded(st)
  local fields = { v = tostring(STATE_VERSION), sid = st.sid, owner = st.owner }
  for name, parser in pairs(PARSERS) do
    if parser == parse_number then
      fields[name] = st[name] and whole(st[name]) or nil
    end
  end
  for _, name in ipairs({ 'callers', 'gone', 'attempts', 'excused', 'declined' }) do
    fields[name] = next(st[name]) ~= nil and cjson.encode(st[name]) or nil
  end
  for _, name in ipairs({ 'rested', 'offer', 'passed' }) do
    fields[name] = st[name] and cjson.encode(st[name]) or nil
  end
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
