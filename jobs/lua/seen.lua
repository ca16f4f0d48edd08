--[[ seen: a worker's sign of life.
     a: worker (name and version), memory_s, late_key?, late_s?, late_memory_s ]]
local key = a.prefix .. 'workers'
redis.call('ZADD', key, now, a.worker)
redis.call('EXPIRE', key, a.memory_s)
if a.late_s then redis.call('SET', a.late_key, string.format('%.3f', a.late_s), 'EX', a.late_memory_s) end
