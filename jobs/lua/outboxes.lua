--[[ outboxes: claim the receivers whose outboxes have due deliveries.
     The claim moves a receiver's time by a lease, so that two rescuers do not both wake it.
     a: limit, lease_s     Returns their names. ]]
local due = redis.call('ZRANGE', outboxes_key, '-inf', stamp(now), 'BYSCORE', 'LIMIT', 0, a.limit)
for _, receiver in ipairs(due) do redis.call('ZADD', outboxes_key, stamp(now + a.lease_s), receiver) end
return due
