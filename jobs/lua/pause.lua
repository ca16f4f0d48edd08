--[[ pause: pause buying, or resume it.
     a: queue (of the jobs that wait to be bought), paused? (a pause, as JSON; absent: resume)
     Returns {the pause before, or '', wake-ups}. ]]
local before = paused()
if a.paused then
  redis.call('HSET', account_key, 'paused', a.paused)
else
  redis.call('HDEL', account_key, 'paused')
  local id, at = unpack(redis.call('ZRANGE', due_key(a.queue), 0, 0, 'WITHSCORES'))
  if id then arm(a.queue, tonumber(at), id) end
end
return { before or '', wake_ups() }
