--[[ reserve_input: make room for an input of a job that is about to be accepted; its file may be written now.
     a: name, job, bytes, most_bytes, tenant ('' for none), archive (where it will be), forget_s (a worker that has been
        silent for so long counts no more), check_s (when to ask whether it is still needed), key_name? (idempotency key)
     Returns 'reserved', 'known' (the key has a job: accept will answer with it), or 'elsewhere' (a worker that was seen
     lately has another archive).     Errors INPUTS_FULL. ]]
if a.key_name and holder_of(a.key_name) then return 'known' end
local archives, sizes = inputs_key .. ':archives', inputs_key .. ':bytes'
redis.call('ZREMRANGEBYSCORE', archives, '-inf', stamp(now - a.forget_s))
for _, archive in ipairs(redis.call('ZRANGE', archives, 0, -1)) do
  if archive ~= a.archive then return 'elsewhere' end
end
local used = tonumber(redis.call('HGET', sizes, a.tenant) or '') or 0
if used + a.bytes > a.most_bytes then
  return redis.error_reply(string.format('INPUTS_FULL %d of %d bytes are used, and this request needs %d', used,
    a.most_bytes, a.bytes))
end
redis.call('HINCRBY', sizes, a.tenant, a.bytes)
redis.call('HSET', inputs_key, a.name, table.concat({ a.job, a.bytes, stamp(now), a.tenant }, ' '))
redis.call('ZADD', inputs_key .. ':due', stamp(now + a.check_s), a.name)
return 'reserved'
