--[[ reuse_note: have a job's video found by orders like its own, if it is completed and was not erased.
     a: id, digest     Returns 1 if it was noted, else 0. ]]
local state, erased = unpack(redis.call('HMGET', row_key(a.id), 'state', 'erased_at'))
if state ~= 'completed' or erased then return 0 end
redis.call('SET', a.prefix .. 'reuse:' .. a.digest, a.id, 'PX', math.floor(a.retention_s * 1000))
return 1
