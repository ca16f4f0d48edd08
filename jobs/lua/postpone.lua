--[[ postpone: let a wake-up that found no room ring again later. If another will ring anyway, this one is spare.
     a: queue, wait_s     Returns when it must ring again, or nothing. ]]
local rings = tonumber(redis.call('HGET', wakes_key, a.queue) or '')
if rings and rings > now then return end
redis.call('HSET', wakes_key, a.queue, stamp(now + a.wait_s))
return stamp(now + a.wait_s)
