--[[ admit: look up an API key, and count a request with it against its quota.
     The quota is a bucket of a minute's requests that refills steadily. A request with a wrong secret is not counted,
     so that nobody can use up another's quota.
     a: id, digest (of the request's secret), per_min, cost (requests that this one counts as; 0: only look)
     Returns {} for an unknown key, else {now, wait_ms (0: it may go), left, whole_in_ms, field, value, ...} flat. ]]
local row = redis.call('HGETALL', a.prefix .. 'access:key:' .. a.id)
if #row == 0 then return {} end
local digest
for at = 1, #row, 2 do
  if row[at] == 'digest' then digest = row[at + 1] end
end

local rate = bucket('key:' .. a.id, a.per_min, 60 / a.per_min)
local wait, left = rate.wait_s(a.cost), 0
-- Lua compares strings by address: a partly right digest takes the same time as a wrong one.
if wait == 0 and digest == a.digest then
  if a.cost > 0 then rate.take(a.cost) end
  left = rate.left()
end
local reply = { stamp(now), math.ceil(wait * 1000), left, math.ceil(rate.full_in_s() * 1000) }
for _, value in ipairs(row) do reply[#reply + 1] = value end
return reply
