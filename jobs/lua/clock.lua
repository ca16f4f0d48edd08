--[[ clock: detect that this server's clock was set back, and pull due times forward.
     Due times written before the step come too late by the size of the step. A due time further off than its kind ever
     waits becomes now. A lease is cut only where it is longer than a lease can be: newer claims are under way.
     a: tolerance_s, life_ms, indexes [[name, longest_s, is_lease (0 or 1)], ...], longest_s (of all others),
        breakers, account, most (due times that are pulled forward at once while the clock is right), worker_memory_s
     Returns {seconds that the clock was set back by, how many due times were pulled forward}. ]]
local key = a.prefix .. 'clock'
local seen = tonumber(redis.call('HGET', key, 'seen')) or now
local back = seen - now > a.tolerance_s and seen - now or 0
local pulled = 0

local function pull(index, longest_s, is_lease)
  local untouched_s = (back > 0 and not is_lease) and 0 or longest_s
  local far = redis.call('ZRANGE', index, '(' .. stamp(now + untouched_s), '+inf', 'BYSCORE', 'LIMIT', 0,
    back > 0 and -1 or a.most, 'WITHSCORES')
  for at = 1, #far, 2 do
    local due = math.max(tonumber(far[at + 1]) - back, now)
    if due > now + longest_s then due = now end
    redis.call('ZADD', index, stamp(due), far[at])
    pulled = pulled + 1
  end
end

local function pull_field(hash, field)
  local at = tonumber(redis.call('HGET', hash, field))
  if at and at > now then redis.call('HSET', hash, field, stamp(math.max(at - back, now))) end
end

for _, entry in ipairs(a.indexes) do
  local name, longest_s, is_lease = unpack(entry)
  pull(a.prefix .. name, longest_s, is_lease == 1)
end
for _, receiver in ipairs(redis.call('SMEMBERS', delivering_key)) do
  pull(due_key('deliver:' .. receiver), a.longest_s, false)
  if back > 0 then
    pull(slots_key(receiver), a.longest_s, false)
    pull_field(breaker_key('receiver:' .. receiver), 'half_open_at')
  end
end

if back > 0 then
  redis.call('DEL', rates_key(a.account)) -- the buckets are forgotten, too
  for _, tenant in ipairs(redis.call('SMEMBERS', waiting_key(a.account))) do tenant_changed(a.account, tenant) end
end

local workers = a.prefix .. 'workers'
redis.call('ZREMRANGEBYSCORE', workers, '-inf', stamp(now - a.worker_memory_s))
redis.call('HSET', key, 'seen', stamp(back > 0 and now or math.max(seen, now)))
redis.call('PEXPIRE', key, a.life_ms)
if back == 0 then return { '0', pulled } end

redis.call('HSET', key, 'set_back_s', stamp(back), 'set_back_at', stamp(now))
redis.call('DEL', wakes_key)
for _, name in ipairs(a.breakers) do
  pull_field(breaker_key(name), 'half_open_at')
  pull_field(breaker_key(name), 'trial_until')
end
for _, name in ipairs(redis.call('ZRANGE', workers, '(' .. stamp(now), '+inf', 'BYSCORE')) do
  redis.call('ZADD', workers, stamp(now), name)
end
return { stamp(back), pulled }
