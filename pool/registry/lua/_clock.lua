-- What stands in front of every verb: this file, _room.lua and _settle.lua, in that order. Here: names, the clock, a
-- room's story, and the grace after Redis was away.
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
local function read_alive()
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
  return not at, grace_until, lost_at, lost_until
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
