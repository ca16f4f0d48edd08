--[[ admit: look up an API key, and count a request of its owner's against its quota.
     The quota is a bucket that holds a minute's requests and fills steadily. A request with a wrong secret is not counted, so that nobody can use up a stranger's.
     a: id, digest (of the secret that came with the request), per_min, cost (requests that this one counts as)
     Returns {} for an unknown key, else {now, wait_ms (0: it may go), left, whole_in_ms, field, value, ...} flat. ]]
local row = redis.call('HGETALL', a.prefix .. 'access:key:' .. a.id)
if #row == 0 then return {} end
local digest
for at = 1, #row, 2 do
  if row[at] == 'digest' then digest = row[at + 1] end
end

local rate = bucket('key:' .. a.id, a.per_min, 60 / a.per_min)
local wait, left = rate.wait_s(a.cost), 0
-- Strings of Lua are compared by address: this takes the same time however much of the digest is right.
if wait == 0 and digest == a.digest then
  rate.take(a.cost)
  left = rate.left()
end
local reply = { stamp(now), math.ceil(wait * 1000), left, math.ceil(rate.full_in_s() * 1000) }
for _, value in ipairs(row) do reply[#reply + 1] = value end
return reply
