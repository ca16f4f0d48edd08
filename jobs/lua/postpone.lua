--[[ postpone: let a wake-up that found no room ring again later. If another will ring anyway, this one is spare.
     a: queue, rang? (when it was to ring), wait_s     Returns when it must ring again, or nothing. ]]
local rings = redis.call('HGET', wakes_key, a.queue)
local outstanding = tonumber(rings or '')
if outstanding and (outstanding > now or a.rang and rings ~= a.rang and outstanding > now - a.lost_after_s) then return end
redis.call('HSET', wakes_key, a.queue, stamp(now + a.wait_s))
return stamp(now + a.wait_s)
