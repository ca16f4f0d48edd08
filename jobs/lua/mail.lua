--[[ mail: queue events of a job for receivers at once, also those delivered before.
     a: id, wanted {receiver: [lines]}     Returns the wake-ups to send. ]]
for receiver, lines in pairs(a.wanted) do
  local queue = 'deliver:' .. receiver
  for _, line in ipairs(lines) do
    local waiting = redis.call('HGET', item_key(queue, a.id), 'events')
    local name = string.match(line, '^%S+ ')
    if not waiting or not string.find('\n' .. waiting, '\n' .. name, 1, true) then put(receiver, a.id, line) end
  end
  -- A delivery under way keeps its lease; one that waits for its next try is due at once.
  if redis.call('HGET', item_key(queue, a.id), 'busy') ~= '1' then
    redis.call('HSET', item_key(queue, a.id), 'tries', 0)
    redis.call('ZADD', due_key(queue), stamp(now), a.id)
    arm(queue, now, a.id)
  end
end
return wake_ups()
