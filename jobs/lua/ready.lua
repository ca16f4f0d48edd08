--[[ ready: how much is ready to be bought, and what holds it.
     a: account, most (tenants that are counted; the others are taken to be like them)
     Returns {ready jobs, seconds for which the next one could have been bought and nobody looked, generations in flight,
     how many may run (-1: any number), how many the account learnt (-1: nothing)}. ]]
local ready, tenants = 0, redis.call('SMEMBERS', waiting_key(a.account))
local counted = math.min(#tenants, a.most)
for at = 1, counted do ready = ready + redis.call('ZCARD', ready_key(a.account, tenants[at])) end
if counted > 0 then ready = math.floor(ready * #tenants / counted + 0.5) end

local idle_s, at = 0, next_purchase_at(a.account)
local tenant = at and at <= now and redis.call('ZRANGE', tenants_key(a.account), 0, 0)[1]
if tenant then
  local first = tonumber(redis.call('ZRANGE', ready_key(a.account, tenant), 0, 0, 'WITHSCORES')[2] or '') or now
  local looked_at = tonumber(redis.call('HGET', account_key(a.account), 'looked_at') or '') or 0
  idle_s = math.max(now - math.max(first, looked_at), 0)
end
local learnt = tonumber(redis.call('HGET', account_key(a.account), 'learnt') or '')
local in_flight = redis.call('ZCOUNT', in_flight_key(a.account), '(' .. stamp(now), '+inf')
local room = room_in_flight(a.account)
return { ready, stamp(idle_s), in_flight, room < math.huge and in_flight + room or -1, learnt or -1 }
