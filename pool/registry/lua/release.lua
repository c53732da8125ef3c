-- An owner gives the room up.
-- ARGV: [4] carrier, [5] room, [6] fence, [7] how: 'again' | 'failed' | 'excused' | 'rested' | 'gone',
--       [8] participants served, as JSON: sid -> joined ms (rested, gone), [9] bar ms (again, failed, excused):
--       for so long the room is not this carrier's, nor its worker's while another worker could take it.
-- Answers: 1, or 0 when the room is not this owner's under this fence; then nothing changes.
--   again   somebody else shall go on: waiting at once, as old as it was
--   failed  the same after a back-off; attempts count on, up to quarantine
--   excused the same after a back-off, but this attempt does not count towards quarantine
--   rested  the agent ended it: only somebody who was not served and joined after all who were wakes the room
--   gone    those served have left; whoever else is noted waits
-- When a person has asked to end the call, any way of giving it up before it rested lets it rest for whoever is there.
-- What was remembered of the talk goes with 'rested' and 'gone': that talk is over.
-- A call that served nobody keeps its attempts, or a room that is never found would be claimed for ever.

local carrier, room, fence, how = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
local served, bar_ms = cjson.decode(ARGV[8]), tonumber(ARGV[9])

local st = load_room(room)
if not is_held_by(st, carrier, fence) then
  return 0
end

local was_hung_up = st.hangup ~= nil
st.hangup = nil
clear_owner(st)
if bar_ms > 0 then
  add_bar(st, carrier, NOW + bar_ms)
  local worker = record_of(carrier).worker
  if worker ~= '' then
    add_bar(st, worker, NOW + bar_ms)
  end
end

if how == 'again' then
  forget_tries(st)
  st.not_before = nil
elseif how == 'failed' then
  back_off(st)
elseif how == 'excused' then
  excuse(st)
  back_off(st)
else
  st.wanted = nil -- whoever is left begins to wait now
  if next(served) ~= nil then
    forget_tries(st)
  end
end

if how == 'gone' then
  for participant in pairs(served) do
    remember_gone(st, participant)
  end
  forget_talk(st)
elseif how == 'rested' then
  drop_oldest(served, MAX_CALLERS) -- the latest stay, by which the others are known to have come before
  rest(st, served)
elseif was_hung_up then
  rest(st, st.callers)
end

why(room, 'released', 'how', how, 'carrier', carrier, 'fence', whole(fence))
count('rooms_released')
settle(st)
return 1
