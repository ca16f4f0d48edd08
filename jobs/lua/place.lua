--[[ place: a ready job's place in its tenant's line, and among all, both from 1.
     Until it is served, each other tenant gets its weight's part of the turns; beyond `most` tenants the others are taken
     to be like those that were counted.
     a: id, account, tenant, most     Returns {of the tenant, of all}, or {}: the job is not ready. ]]
local rank = redis.call('ZRANK', ready_key(a.account, a.tenant), a.id)
if not rank then return {} end

local turns = (rank + 1) / limits_of(a.account, a.tenant).weight
local others, counted, before = redis.call('SMEMBERS', waiting_key(a.account)), 0, 0
for _, tenant in ipairs(others) do
  if counted == a.most then break end
  if tenant ~= a.tenant then
    counted = counted + 1
    local share = math.floor(turns * limits_of(a.account, tenant).weight)
    before = before + math.min(redis.call('ZCARD', ready_key(a.account, tenant)), share)
  end
end
if counted > 0 then before = before * (#others - 1) / counted end
return { rank + 1, math.floor(rank + 1 + before) }
