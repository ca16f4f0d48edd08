--[[ pause: pause buying, or resume it: of an account, or of a tenant or model there.
     a: account, what? ('tenant:T' | 'model:M'), pause? (as JSON; absent: resume), limit (jobs that one call makes ready)
     Returns {the pause before, or '', wake-ups, 1 if more jobs of the model are to be made ready}. ]]
local field = a.what and 'paused:' .. a.what or 'paused'
local before = redis.call('HGET', account_key(a.account), field)
if a.pause then
  redis.call('HSET', account_key(a.account), field, a.pause)
else
  redis.call('HDEL', account_key(a.account), field)
end

local kind, name = string.match(a.what or '', '^(%l+):(.*)$')
local parked = parked_key(a.account, name or '')
if kind == 'tenant' then
  tenant_changed(a.account, name)
elseif kind == 'model' and not a.pause then
  for _, id in ipairs(redis.call('ZRANGE', parked, 0, a.limit - 1)) do
    redis.call('ZREM', parked, id)
    local row = admission_fields(id)
    if row.state == 'queued' then make_ready(id, row) end
  end
end
arm_purchases(a.account)
return { before or '', wake_ups(), kind == 'model' and redis.call('EXISTS', parked) or 0 }
