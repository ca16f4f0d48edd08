--[[ reuse_find: find the job whose kept video answers a request. An idempotency key is bound to the answer as to an
     accepted job: the same request with the same key has the same answer, even if the video is removed later.
     A key with another job is left to `accept`, which replays or refuses.
     a: digest, key_name? (the idempotency key's), idempotency_life_s, fingerprint
     Returns {id, 1 if the key was answered so before, else 0}, or nothing. ]]
local function mark() return a.prefix .. 'reused:' .. a.key_name end
if a.key_name then
  local id, fingerprint = holder_of(a.key_name)
  if id then
    if fingerprint == a.fingerprint and redis.call('EXISTS', mark()) == 1 then return { id, 1 } end
    return {}
  end
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
if a.key_name then
  local life_ms = math.floor(a.idempotency_life_s * 1000)
  redis.call('SET', a.prefix .. 'idempotency:' .. a.key_name, id .. ' ' .. a.fingerprint, 'PX', life_ms)
  redis.call('SET', mark(), '1', 'PX', life_ms)
end
return { id, 0 }
