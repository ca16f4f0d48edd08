--[[ revoke: end an API key now, once; its row is kept for a while.
     a: id, life_s     Returns the row's fields and values, flat; {} for an unknown key. ]]
local key = a.prefix .. 'access:key:' .. a.id
if redis.call('EXISTS', key) == 0 then return {} end
redis.call('HSETNX', key, 'revoked_at', stamp(now))
redis.call('PEXPIRE', key, math.floor(a.life_s * 1000))
return redis.call('HGETALL', key)
