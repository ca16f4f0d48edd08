--[[ note: write something beside a job without moving it, so that the worker that holds its turn keeps it.
     a: id, from [states], request_id?, once? (a field that is stamped with now; if it stands already, nothing
        happens), set {field: value}, start {errand: due_in}, slot_s, event, data
     Returns {turn, 1 if it was written, else 0, alarms to set [{errand, turn, seconds}]}.     Errors UNKNOWN_JOB, WRONG_STATE, STALE_TURN. ]]
local row = row_key(a.id)
local state, turn, request_id = unpack(redis.call('HMGET', row, 'state', 'turn', 'request_id'))
if not state then return redis.error_reply('UNKNOWN_JOB ' .. a.id) end
if a.request_id and a.request_id ~= request_id then
  return redis.error_reply('STALE_TURN the job speaks of purchase ' .. tostring(request_id))
end
local stands_here = false
for _, from in ipairs(a.from) do stands_here = stands_here or from == state end
if not stands_here then return redis.error_reply('WRONG_STATE job is ' .. state) end
if a.once and redis.call('HSETNX', row, a.once, stamp(now)) == 0 then return { tonumber(turn), 0, {} } end
for name, value in pairs(a.set) do redis.call('HSET', row, name, value) end
emit(a.id, a.event, state, turn, a.data)
return { tonumber(turn), 1, start_errands(a.id, a.start) }
