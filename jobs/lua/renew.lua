--[[ renew: keep claimed items for another lease. What has been moved or claimed by others since has another turn.
     a: items [{queue, id, turn, 1 if it is a follow-up}], slots [{receiver, slot}], lease_s ]]
for _, held in ipairs(a.items) do
  local queue, id, turn, is_follow_up = unpack(held)
  local key = is_follow_up == 1 and item_key(queue, id) or row_key(id)
  if tonumber(redis.pcall('HGET', key, 'turn') or '') == turn then
    redis.call('ZADD', due_key(queue), 'XX', stamp(now + a.lease_s), id)
  end
end
for _, held in ipairs(a.slots) do
  local receiver, slot = unpack(held)
  redis.call('ZADD', slots_key(receiver), 'XX', stamp(now + a.lease_s), slot)
  redis.call('PEXPIRE', slots_key(receiver), math.floor(a.lease_s * 2000))
end
