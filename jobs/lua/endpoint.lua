--[[ endpoint: change a webhook endpoint and its subscription, if it is still as the caller read it.
     a: id, before? (none: it is new), after? (its JSON; none: it is removed), list ('all' or 'tenant:<t>'),
        events? (with commas; none: it gets nothing)
     Returns 1 if it was changed, else 0. ]]
local key, list = a.prefix .. 'webhooks', a.prefix .. 'receivers:' .. a.list
if (redis.call('HGET', key, a.id) or nil) ~= a.before then return 0 end
if a.after then redis.call('HSET', key, a.id, a.after) else redis.call('HDEL', key, a.id) end
if a.events then redis.call('HSET', list, a.id, a.events) else redis.call('HDEL', list, a.id) end
return 1
