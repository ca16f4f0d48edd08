--[[ due_inputs: find inputs that are not needed any more: their jobs have their videos, are erased, or forgotten; or
     were never accepted within orphan_s. Whoever removes one says so by `release_input`; else it is found again.
     a: limit, check_s (when to ask again), orphan_s     Returns {names, how many were looked at}. ]]
local due = inputs_key .. ':due'
local found, names = {}, redis.call('ZRANGE', due, '-inf', stamp(now), 'BYSCORE', 'LIMIT', 0, a.limit)
for _, name in ipairs(names) do
  local job, _, at = string.match(redis.call('HGET', inputs_key, name) or '', '^(%S+) (%S+) (%S+)')
  local stored, erased = unpack(job and fields_of(job, 'stored', 'erased_at') or {})
  local is_known = job and redis.call('EXISTS', row_key(job)) == 1
  local is_young = at and now - tonumber(at) < a.orphan_s
  if stored or erased or not (is_known or is_young) then found[#found + 1] = name end
  redis.call('ZADD', due, stamp(now + a.check_s), name)
end
return { found, #names }
