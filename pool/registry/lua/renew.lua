-- An owner says that it still holds the room.
-- ARGV: [4] carrier, [5] room, [6] sid, [7] created ms, [8] fence, [9] callers it sees, as JSON: sid -> joined ms.
-- Answers: 1 mine (extended by one ttl from now), 0 lost (somebody was granted the room since, or it was given up),
-- 2 over (this life of the room has ended, or a later one is known), 3 passed (we handed it on, and whom we gave it is
-- still the last owner), 4 hang up (as 1, and a person asks to end the call). 0, 2 and 3 change nothing.
-- What was remembered of the talk lives on with each renewal.
--
-- The owner's list is the truth about whom it sees, but a webhook may know of somebody whom it does not see yet. So the
-- callers are both together, without those known to have left; whom nobody saw leave goes with the release.

local carrier, room, sid, created, fence = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local MINE, LOST, OVER, PASSED, HANG_UP = 1, 0, 2, 3, 4

touch_alive()

local function keep(st)
  for participant, joined in pairs(cjson.decode(ARGV[9])) do
    st.met = st.met or NOW -- an owner sees callers only once it has joined
    if not contains(st.gone, participant) then
      if st.emptied and joined < st.emptied then -- was there all along, by two clocks that may differ
        st.emptied = nil
      end
      st.callers[participant] = joined
      count_claim(st)
    end
  end
  drop_oldest(st.callers, MAX_CALLERS)
  set_owner(st, carrier, fence)
  if st.emptied and NOW - st.emptied >= TIMES.emptied_ms then
    st.emptied = nil
  end
  if st.claimed and NOW - st.claimed >= TIMES.healthy_ms then
    forget_tries(st)
  end
  settle(st)
  redis.call('PEXPIRE', memory_key(st), TIMES.memory_ms)
  return st.hangup and HANG_UP or MINE
end

-- Redis forgot newer writes (lost its data, or a failover); the owner remembers them.
local function reassert(st)
  if st.sid ~= sid then
    local before = st
    if before.owner then
      clear_owner(before)
    end
    st = fresh_room(room, sid, created)
    st.raw = before.raw
  end
  st.created = math.max(st.created, created)
  st.claimed, st.passed = NOW, nil
  count('leases_reasserted')
  why(room, 'reasserted', 'carrier', carrier, 'fence', whole(fence))
  return keep(st)
end

if is_finished(sid) then
  return OVER
end
local st = load_room(room)
if not st then
  return reassert(fresh_room(room, sid, created))
end
if st.sid ~= sid and st.created >= created then
  return OVER
end
local stored = st.fence or 0
if stored > fence then
  local passed = st.passed
  local is_ours = passed and passed.carrier == carrier and passed.fence == fence and passed.to == stored
  return is_ours and PASSED or LOST
end
if stored < fence or st.sid ~= sid then
  return reassert(st)
end
if st.owner ~= carrier then
  return LOST
end
return keep(st)
