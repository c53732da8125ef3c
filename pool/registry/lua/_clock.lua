-- What stands in front of every verb: this file, _room.lua, _settle.lua and _carriers.lua, in that order. Here: names, the
-- clock, a room's story, and the grace after Redis was away.
--
-- ARGV of every verb: [1] key prefix, [2] the time in ms or '' for Redis' own, [3] Times as JSON, [4..] the verb's own.
-- Redis Cluster is not supported: keys are built from the prefix. Times are ms since 1970 by Redis' clock.
--
-- The rule: a verb loads a room, changes its fields, and calls `settle`, which alone decides in which of
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

-- A number as it is stored, or nil for what we cannot have written.
local function parse_number(text)
  if string.find(text, '^%d+$') and tonumber(text) <= MAX_NUMBER then
    return tonumber(text)
  end
end

-- Somebody's key of another type where one of ours belongs would fail every verb, for ever. It is dropped: what an index
-- holds follows from the rooms' hashes, and comes back with the next renewal, webhook or reconciliation of each room.
local function claim_key(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then
    redis.call('DEL', key)
    count('keys_rebuilt')
    redis.log(redis.LOG_WARNING, 'roompool: dropped ' .. key .. ', a ' .. found .. ' where a ' .. kind .. ' belongs')
  end
end

for _, set in ipairs({ WAITING, DUE, QUARANTINED, CARRIERS }) do
  claim_key(set, 'zset')
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

-- When a carrier last reached Redis. Silence means that owners could not renew, so they get one ttl to come back:
-- GRACE_UNTIL holds back rooms whose owner's lease ended meanwhile; LOST_UNTIL also those created before Redis' data
-- was lost (LOST_AT), because nobody can know whether they had an owner.
-- The loss is noted by whichever script comes first. That Redis answers is no news from anybody but a carrier: the
-- receiver, or a person who asks, may reach Redis while no owner does. For them a silence goes on, and so does its grace.
-- Redis' clock may be set back: a last touch in the future is as good as none, and no grace is longer than it can be.
local function read_alive()
  local row = redis.pcall('HMGET', ALIVE, 'at', 'grace_until', 'lost_at', 'lost_until')
  if row.err then
    redis.call('DEL', ALIVE)
    row = {}
  end
  local at, grace_until = parse_number(row[1] or ''), parse_number(row[2] or '') or 0
  local lost_at, lost_until = parse_number(row[3] or '') or 0, parse_number(row[4] or '') or 0
  local latest = NOW + TIMES.ttl_ms
  if at and at > latest then
    at = nil
    count('clocks_set_back')
  end
  if not at then
    lost_at, lost_until, grace_until = NOW, latest, latest
  elseif NOW - at > TIMES.ttl_ms / 2 then
    grace_until = latest
    if lost_until > at then -- away again before the owners had their time
      lost_until = grace_until
    end
  end
  return not at, math.min(grace_until, latest), math.min(lost_at, NOW), math.min(lost_until, latest)
end

local IS_EMPTY, GRACE_UNTIL, LOST_AT, LOST_UNTIL = read_alive()

-- Carriers reach Redis: said by each verb that only they run, many times a second or for every lease.
local function touch_alive()
  redis.call('HSET', ALIVE, 'at', whole(NOW), 'grace_until', whole(GRACE_UNTIL), 'lost_at', whole(LOST_AT),
    'lost_until', whole(LOST_UNTIL))
end

if IS_EMPTY then
  touch_alive()
end
