--[[ erase: delete an ended job's request, log and video fields, and end its follow-ups; its cost stays in its row.
     a: id     Returns 1, or 0 if it was erased before.     Errors UNKNOWN_JOB, WRONG_STATE (it has not ended). ]]
local row = row_key(a.id)
local state, ended, tenant = unpack(redis.call('HMGET', row, 'state', 'finished_at', 'tenant'))
if not state then return redis.error_reply('UNKNOWN_JOB ' .. a.id) end
if not ended then return redis.error_reply('WRONG_STATE job is ' .. state) end
if redis.call('HSETNX', row, 'erased_at', stamp(now)) == 0 then return 0 end

redis.call('DEL', request_key(a.id), log_key(a.id))
redis.call('HDEL', row, 'video', 'stored', 'media', 'artifacts', 'message')
unindex(a.id, state, tenant)
-- A worker that is busy with one of them finds it gone.
for _, queue in ipairs(redis.call('SMEMBERS', follow_ups_key(a.id))) do end_item(queue, a.id) end
return 1
