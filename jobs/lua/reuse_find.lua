--[[ reuse_find: find the job whose kept video answers an order. With an idempotency key, the answer is bound to it as an
     accepted job would be: the same request with the same key has the same answer, whatever becomes of the video.
     A key that stands for something else is left to `accept`, which replays or refuses.
     a: digest, idempotency_key?, idempotency_life_s, fingerprint
     Returns {id, 1 if the key was answered so before, else 0}, or nothing. ]]
local key = a.idempotency_key and a.prefix .. 'idempotency:' .. a.idempotency_key
local mark = a.idempotency_key and a.prefix .. 'reused:' .. a.idempotency_key
local held = key and redis.call('GET', key)
if held then
  local id, fingerprint = string.match(held, '^(%S+) (%S+)$')
  if fingerprint == a.fingerprint and redis.call('EXISTS', mark) == 1 then return { id, 1 } end
  return {}
end

local pointer = a.prefix .. 'reuse:' .. a.digest
local id = redis.call('GET', pointer)
if not id then return {} end
local state, stored, removed, erased = unpack(redis.call('HMGET', row_key(id), 'state', 'stored', 'removed_at',
  'erased_at'))
if state ~= 'completed' or not stored or (removed and removed ~= '') or erased then
  redis.call('DEL', pointer)
  return {}
end
if key then
  local life_ms = math.floor(a.idempotency_life_s * 1000)
  redis.call('SET', key, id .. ' ' .. a.fingerprint, 'PX', life_ms)
  redis.call('SET', mark, '1', 'PX', life_ms)
end
return { id, 0 }
