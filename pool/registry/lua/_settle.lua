-- Changing one room's fields, and `settle`, which stores them and puts the room where it belongs by them.

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

-- Nobody is there yet, but LiveKit opened the room for somebody just now.
local function is_expected(st)
  return st.expected ~= nil and st.expected > NOW
end

-- Whether somebody in the room wants an agent: anybody, or in a rested room only who came after those served.
local function is_awaited(st)
  if not st.rested then
    return next(st.callers) ~= nil or is_expected(st)
  end
  for sid, joined in pairs(st.callers) do
    if joined > st.rested.upto and not contains(st.rested.sids, sid) then
      return true
    end
  end
  return false
end

-- The rooms a carrier is asked to stand by for: derived from their offers, as `held:` is from their owners.
local function standby_key(carrier)
  local key = PREFIX .. 'standby:' .. carrier
  claim_key(key, 'set')
  return key
end

local function is_held_by(st, carrier, fence)
  return st ~= nil and st.owner == carrier and st.fence == fence
end

local function offer_stands(st)
  return st.offer ~= nil and st.owner ~= nil and st.offer.fence == st.fence and st.offer['until'] > NOW
end

local function is_offered_to(st, carrier, fence)
  return st ~= nil and offer_stands(st) and st.offer.next == carrier and st.offer.fence == fence
end

local function drop_offer(st)
  if st.offer then
    redis.call('SREM', standby_key(st.offer.next), st.room)
    st.offer = nil
  end
end

local MOST_TEXTS, MOST_TEXT_BYTES = 40, 8192

-- What former owners remembered of this life of the room, for the next one.
local function memory_key(st)
  return PREFIX .. 'memory:' .. st.sid
end

local function memory_of(st)
  local texts = redis.pcall('LRANGE', memory_key(st), -MOST_TEXTS, -1)
  return texts.err and {} or texts
end

-- That talk is over: its words are for nobody who comes later, and nothing is left that could end with its owner.
local function forget_talk(st)
  redis.call('DEL', memory_key(st))
  st.emptied = nil
end

local function clear_owner(st)
  drop_offer(st)
  local held = PREFIX .. 'held:' .. st.owner
  claim_key(held, 'set')
  redis.call('SREM', held, st.room)
  st.owner, st['until'], st.prepared = nil, nil, nil
  if st.emptied then -- whoever has come meanwhile was not in that talk
    forget_talk(st)
  end
end

local function set_owner(st, carrier, fence)
  if st.owner and st.owner ~= carrier then
    clear_owner(st)
  end
  local held = PREFIX .. 'held:' .. carrier
  claim_key(held, 'set')
  redis.call('SADD', held, st.room)
  redis.call('PEXPIRE', held, DAY_MS)
  st.owner, st.fence, st['until'] = carrier, fence, NOW + TIMES.ttl_ms
  st.not_before, st.queued = nil, nil
end

-- The state of one life of a room's name, begun anew where it is not the one that is known. Of two lives the one created
-- later wins, equal times: the later call. Nil: a later one is known.
local function life_of(known, room, sid, created)
  if not known then
    return fresh_room(room, sid, created)
  elseif known.sid == sid then
    if known.created == 0 then -- known only from somebody who left
      known.created = created
    end
    return known
  elseif created < known.created then
    return nil
  end
  if known.owner then -- its next renewal is answered: over
    clear_owner(known)
  end
  local st = fresh_room(room, sid, created)
  st.raw, st.fence = known.raw, known.fence -- fences rise over all lives of a name
  why(room, 'new_life', 'sid', sid)
  return st
end

-- `attempts` count towards quarantine, unless the call ends well; `excused` are those that failed through no fault of
-- the room or of its call, and count for the back-off alone.
local function add_attempt(attempts, at)
  attempts[#attempts + 1] = at
  while #attempts > MAX_ATTEMPTS do
    table.remove(attempts, 1)
  end
end

-- A claim counts as a try once somebody is there for whom it can fail.
local function count_claim(st)
  if st.prepared then
    add_attempt(st.attempts, st.prepared)
    st.prepared = nil
  end
end

local function tries(st)
  return #st.attempts + #st.excused
end

local function forget_tries(st)
  st.attempts, st.excused = {}, {}
end

-- The try that began with the present claim shall not count. After a minute, or a loss of data, it does not anyway.
local function clear_attempt(st)
  if st.attempts[#st.attempts] == st.claimed then
    table.remove(st.attempts)
  end
end

-- The same, and the room waits longer for its next try.
local function excuse(st)
  clear_attempt(st)
  add_attempt(st.excused, NOW)
end

-- A carrier may not have this room for a while. The bars that end first make room.
local function add_bar(st, carrier, bar_until)
  st.bars[carrier] = bar_until
  drop_oldest(st.bars, MAX_BARS)
end

-- These have been served: only somebody else, who joined after all of them, wakes the room. That talk is over.
local function rest(st, participants)
  local upto, sids = st.rested and st.rested.upto or 0, {}
  for participant, joined in pairs(participants) do
    upto = math.max(upto, joined)
    sids[#sids + 1] = participant
  end
  st.rested, st.looked, st.wanted = { sids = sids, upto = upto }, NOW, nil
  forget_talk(st)
end

-- A carrier is not asked to stand by for this room for a while.
local function decline_for(st, carrier, bar_ms)
  st.declined[carrier] = NOW + bar_ms
  drop_oldest(st.declined, MAX_BARS)
end

-- Puts the next try off, by how many there were of late.
local function back_off(st)
  local steps = TIMES.backoff_ms
  local wait = steps[math.min(math.max(tries(st), 1), #steps)] or 0
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
  if next(st.callers) == nil and not is_expected(st) then
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
  return 'waiting', next(st.callers) == nil and st.expected or nil -- then it is looked at when nobody came
end

local WAITS = { waiting = true, backing_off = true, held_back = true, lapsed = true }
local EXPIRES_MS = {
  finished = TIMES.finished_ms, absent = TIMES.finished_ms,
  rested = DAY_MS, quarantined = DAY_MS, -- `unowned` renews these while LiveKit still lists the room
}

-- A carrier has died, last heard of at `died`, or does not get through. Its attempt counts against the room only when it
-- was young, and nothing else clears it: the neighbours of a poison room, in the same process, are not to blame. If a
-- person had asked to end the call, it has ended.
local function end_lease(st, event, died, is_cleared)
  why(st.room, event, 'carrier', st.owner, 'fence', whole(st.fence))
  count('leases_ended')
  clear_owner(st)
  if st.hangup then
    st.hangup = nil
    rest(st, st.callers)
    return
  end
  if st.claimed and died - st.claimed >= TIMES.settled_ms then
    clear_attempt(st) -- it went well: its caller waits for nothing
    return
  end
  if is_cleared then -- perhaps it was this room after all: never quarantined for it, but slower each time
    excuse(st)
  end
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
    end_lease(st, 'lease_ended', st['until'] - TIMES.ttl_ms)
    standing, due_at = standing_of(st)
  end
  if st.offer and not offer_stands(st) then
    if st.owner and st.offer.fence == st.fence and not st.offer.ready then -- it said nothing in its time: others are asked before it
      decline_for(st, st.offer.next, TIMES.offer_ms)
    end
    drop_offer(st)
  end
  if WAITS[standing] and #st.attempts >= TIMES.quarantine_after and not st.owner then
    st.quarantined, st.looked = NOW, NOW
    count('rooms_quarantined')
    why(st.room, 'quarantined', 'attempts', #st.attempts)
    standing, due_at = 'quarantined', nil
  end
  if WAITS[standing] then
    st.wanted, st.queued = st.wanted or NOW, st.queued or NOW
  elseif standing ~= 'owned' then
    st.wanted, st.queued, st.not_before = nil, nil, nil
  end
  if standing == 'absent' or standing == 'finished' then
    forget_talk(st)
  end
  save_room(st)
  local key = PREFIX .. 'room:' .. st.room
  if EXPIRES_MS[standing] then
    redis.call('PEXPIRE', key, EXPIRES_MS[standing])
  else
    redis.call('PERSIST', key)
  end
  index(DUE, st.room, due_at)
  index(QUARANTINED, st.room, standing == 'quarantined' and st.quarantined or nil)
  -- Who is there is served before who may come: an agent that meets nobody holds its slot for seconds.
  local place = st.wanted and st.wanted + (next(st.callers) == nil and TIMES.expected_ms or 0)
  local is_new = index(WAITING, st.room, standing == 'waiting' and place or nil)
  if is_new then
    why(st.room, 'waiting', 'for_ms', whole(NOW - st.queued))
  end
  return standing, is_new
end
