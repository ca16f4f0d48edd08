--[[ rescue: wake up each queue with something due for which no wake-up is outstanding.
     a: queues [names], account     Returns the wake-ups to send. ]]
local function is_served(queue)
  local receiver, rings = receiver_of(queue), tonumber(redis.call('HGET', wakes_key, queue) or '')
  if receiver and breaker('receiver:' .. receiver).open_s > 0 then return true end
  return rings and rings > now and rings <= now + a.slot_s -- at the next point of the grid
end

-- Returns the first item, and when it is due; of queued jobs perhaps when the next may be bought.
local function first_of(queue)
  local id, at = unpack(redis.call('ZRANGE', due_key(queue), 0, 0, 'WITHSCORES'))
  if queue == 'queued' and id and tonumber(at) > now then at = next_purchase_at(a.account) end
  return id, tonumber(at)
end

for _, queue in ipairs(a.queues) do
  local id, at = first_of(queue)
  if at and at <= now and not is_served(queue) then arm(queue, now, id) end
end
return wake_ups()
