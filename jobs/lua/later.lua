--[[ later: what was taken is due again in a while, for a reason that its job log tells already; nothing else changes.
     a: state, id, turn, due_in, slot_s
     Returns {alarm}: the seconds until its reminder must ring, or nil if the alarm of its slot is set already.
     Errors UNKNOWN_JOB, STALE_TURN, WRONG_STATE. ]]
local state, turn = unpack(redis.call('HMGET', row_key(a.id), 'state', 'turn'))
if not state then return redis.error_reply('UNKNOWN_JOB ' .. a.id) end
if tonumber(turn) ~= a.turn then return redis.error_reply('STALE_TURN job is at ' .. turn) end
if state ~= a.state then return redis.error_reply('WRONG_STATE job is ' .. state) end
local due = now + a.due_in
redis.call('ZADD', due_key(state), stamp(due), a.id)
redis.call('HSET', row_key(a.id), 'due_at', stamp(due))
return { alarm_to_set(state, due) }
