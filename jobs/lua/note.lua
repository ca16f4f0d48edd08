--[[ note: write a wish beside a job without moving it, so that the worker in mid-purchase keeps its turn.
     a: id, from [states], field (stamped with now, once), event, data
     Returns the turn.     Errors UNKNOWN_JOB, WRONG_STATE. ]]
local row = row_key(a.id)
local state, turn = unpack(redis.call('HMGET', row, 'state', 'turn'))
if not state then return redis.error_reply('UNKNOWN_JOB ' .. a.id) end
local stands_here = false
for _, from in ipairs(a.from) do stands_here = stands_here or from == state end
if not stands_here then return redis.error_reply('WRONG_STATE job is ' .. state) end
if redis.call('HSETNX', row, a.field, stamp(now)) == 1 then tell(a.id, a.event, state, turn, a.data) end
return tonumber(turn)
