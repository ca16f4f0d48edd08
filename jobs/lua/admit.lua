--[[ admit: look up an API key, and count a request of its owner's against its quota.
     The quota is a bucket that holds a minute's requests and fills steadily: its level is kept as the one moment at
     which it would be full again. A request with a wrong secret is not counted, so that nobody can use up a stranger's.
     a: id, digest (of the secret that came with the request), per_min, cost (requests that this one counts as)
     Returns {} for an unknown key, else {now, wait_ms (0: it may go), left, whole_in_ms, field, value, ...} flat. ]]
local row = redis.call('HGETALL', a.prefix .. 'access:key:' .. a.id)
if #row == 0 then return {} end
local digest
for at = 1, #row, 2 do
  if row[at] == 'digest' then digest = row[at + 1] end
end

local bucket = a.prefix .. 'access:rate:' .. a.id
local each = 60 / a.per_min
local full_at = math.max(tonumber(redis.call('GET', bucket) or '0'), now)
local wait = full_at + a.cost * each - now - 60
local left = 0
-- Strings of Lua are compared by address: this takes the same time however much of the digest is right.
if wait <= 0 and digest == a.digest then
  full_at = full_at + a.cost * each
  redis.call('SET', bucket, string.format('%.6f', full_at), 'PX', math.ceil((full_at - now) * 1000))
  left = math.floor((now + 60 - full_at) / each + 0.000001)
end
local reply = { stamp(now), math.max(math.ceil(wait * 1000), 0), math.max(left, 0), math.ceil((full_at - now) * 1000) }
for _, value in ipairs(row) do reply[#reply + 1] = value end
return reply
