--[[ release_input: forget an input whose file is gone.     a: name ]]
local _, bytes, _, tenant = string.match(redis.call('HGET', inputs_key, a.name) or '', '^(%S+) (%S+) (%S+) (.*)$')
redis.call('ZREM', inputs_key .. ':due', a.name)
if not bytes then return end
redis.call('HDEL', inputs_key, a.name)
local sizes = inputs_key .. ':bytes'
if redis.call('HINCRBY', sizes, tenant, -bytes) <= 0 then redis.call('HDEL', sizes, tenant) end
