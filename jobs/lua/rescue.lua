--[[ rescue: wake up each queue with something due for which no wake-up is outstanding.
     a: queues [names]     Returns the wake-ups to send. ]]
local function is_served(queue)
  local receiver, rings = receiver_of(queue), tonumber(redis.call('HGET', wakes_key, queue) or '')
  if queue == 'queued' and paused() then return true end
  if receiver and breaker('receiver:' .. receiver).open_s > 0 then return true end
  return rings and rings > now and rings <= now + a.slot_s -- at the next point of the grid
end

for _, queue in ipairs(a.queues) do
  local id, at = unpack(redis.call('ZRANGE', due_key(queue), 0, 0, 'WITHSCORES'))
  if id and tonumber(at) <= now and not is_served(queue) then arm(queue, now, id) end
end
return wake_ups()
