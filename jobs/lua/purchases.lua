--[[ purchases: what the newest purchases cost.
     a: states (of jobs that were bought), tenant?, limit (jobs that are looked at)
     Returns [{dollars, request as JSON}], newest first. ]]
local is_bought, indexes, ids, found = {}, {}, {}, {}
for at, state in ipairs(a.states) do is_bought[state], indexes[at] = true, state end
if a.tenant then indexes = { 'tenant:' .. a.tenant } end
for _, name in ipairs(indexes) do
  for _, id in ipairs(redis.call('ZRANGE', index_key(name), 0, a.limit - 1, 'REV')) do ids[#ids + 1] = id end
end
table.sort(ids, function(one, other) return one > other end)
for at = 1, math.min(#ids, a.limit) do
  local state, cost_usd = unpack(fields_of(ids[at], 'state', 'cost_usd'))
  local request = cost_usd and is_bought[state] and redis.call('GET', request_key(ids[at]))
  if request then found[#found + 1] = { cost_usd, request } end
end
return found
