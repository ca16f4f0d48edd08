--[[ outbox_void: free the slots of dead workers, so that their deliveries are made again at once.
     a: alive [workers that gave a sign of life], after_s (a slot younger than this is left alone)
     Returns how many were freed. ]]
local alive, freed = {}, 0
for _, worker in ipairs(a.alive) do alive[worker] = true end
for _, receiver in ipairs(redis.call('ZRANGE', outboxes_key, 0, -1)) do
  for _, id in ipairs(redis.call('ZRANGE', slots_key(receiver), 0, -1)) do
    local held = redis.pcall('HMGET', delivery_key(receiver, id), 'worker', 'taken_at')
    local worker, taken_at = unpack(held.err and {} or held)
    if not (worker and alive[worker]) and now - (tonumber(taken_at) or 0) > a.after_s then
      redis.call('ZREM', slots_key(receiver), id)
      redis.call('ZADD', outbox_key(receiver), 'XX', stamp(now), id)
      note_next(receiver)
      freed = freed + 1
    end
  end
end
return freed
