--[[ endpoint: change a webhook endpoint, if it is still as the caller read it.
     a: id, before, after (its JSON)     Returns 1 if it was changed, else 0. ]]
local key = a.prefix .. 'webhooks'
if redis.call('HGET', key, a.id) ~= a.before then return 0 end
redis.call('HSET', key, a.id, a.after)
return 1
