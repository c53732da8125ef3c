-- An owner asks for somebody to stand by for its room, so that it can hand it over; asked again, how far that is.
-- ARGV: [4] carrier, [5] room, [6] fence.
-- Answers { next or '', ready: 1 or 0 }. '': nobody can take it now, or the room is not this owner's, over, or about to
-- be hung up. Who is asked has a slot reserved, until `offer_ms` have passed, or it declines, or the owner withdraws,
-- passes, releases, or loses the room.
-- Asked is: not us; beaten of late; not draining nor cordoned, nor of our worker when we drain; not barred from the
-- room, by a release or by having declined; with a free slot, and not asked for two rooms already. Among those the
-- newest revision first, by when the latest worker of it started (so a rollout hands a call over once), then by most
-- free slots. Without a revision each worker is one of its own.

local carrier, room, fence = ARGV[4], ARGV[5], tonumber(ARGV[6])
local MOST_LOOKED_AT = 16 -- counting what a carrier holds reads each of its rooms
local NOBODY = { '', 0 }

local st = load_room(room)
if not is_held_by(st, carrier, fence) or is_finished(st.sid) or st.hangup then
  return NOBODY
end
settle(st) -- ends what has ended: our lease, an offer
if st.owner ~= carrier then
  return NOBODY
end

local us = record_of(carrier)
us.id = carrier

if st.offer then
  local record = record_of(st.offer.next)
  if may_take_over(record, us) and is_live(record.id) then
    return { record.id, st.offer.ready and 1 or 0 }
  end
  why(room, 'offer_dropped', 'next', record.id) -- it died, or drains by now
  drop_offer(st)
end

local function revision_of(record)
  return record.revision ~= '' and 'revision:' .. record.revision or 'worker:' .. record.worker
end

-- A first count of what is taken: its indexes may hold more than is true until it sweeps or claims. What it says itself
-- counts where it is more: after a loss of Redis' data.
local function rough_free(record)
  local taken = 0
  for _, kind in ipairs({ 'held:', 'standby:' }) do
    local number = redis.pcall('SCARD', PREFIX .. kind .. record.id)
    taken = taken + (type(number) == 'number' and number or 0)
  end
  return record.capacity - math.max(taken, record.in_use)
end

local function candidates()
  local records, rank = {}, {}
  for _, id in ipairs(live_carriers()) do
    local record = record_of(id)
    local revision = revision_of(record)
    rank[revision] = math.max(rank[revision] or 0, record.worker_started)
    record.free = rough_free(record)
    local is_refused = st.declined[id] ~= nil or is_barred(st, record)
    if may_take_over(record, us) and not is_refused and record.free > 0 then
      records[#records + 1] = record
    end
  end
  for _, record in ipairs(records) do
    record.rank = rank[revision_of(record)]
  end
  table.sort(records, function(one, other)
    if one.rank ~= other.rank then
      return one.rank > other.rank
    elseif one.free ~= other.free then
      return one.free > other.free
    end
    return one.id < other.id
  end)
  return records
end

for looked_at, record in ipairs(candidates()) do
  if looked_at > MOST_LOOKED_AT then
    break
  end
  local standbys = #stands_by_for(record.id)
  if standbys < MOST_STANDBYS and #owned_by(record.id) + standbys < record.capacity then
    st.offer = { next = record.id, fence = fence, ['until'] = NOW + TIMES.offer_ms, ready = false }
    local standby = standby_key(record.id)
    redis.call('SADD', standby, room)
    redis.call('PEXPIRE', standby, DAY_MS)
    why(room, 'offered', 'carrier', carrier, 'next', record.id, 'fence', whole(fence))
    settle(st)
    return { record.id, 0 }
  end
end
settle(st)
return NOBODY
