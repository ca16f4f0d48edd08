--[[ accept: put a job into the ledger, once per idempotency key.
     a: id, row {field: value}, request, due_in, queue_ttl_s,
        key_name? (the idempotency key's), idempotency_life_s, fingerprint? (with the key)
     Returns {'accepted', id, now, wake-ups} or {'replayed', id of the first}.
     Errors IDEMPOTENCY_CONFLICT (the key was used for another request), ID_TAKEN. ]]
if a.key_name then
  local id, fingerprint = holder_of(a.key_name)
  if id then
    if fingerprint ~= a.fingerprint then
      return redis.error_reply('IDEMPOTENCY_CONFLICT this key was used for another request, as job ' .. id)
    end
    return { 'replayed', id }
  end
  local key = a.prefix .. 'idempotency:' .. a.key_name
  redis.call('SET', key, a.id .. ' ' .. a.fingerprint, 'PX', math.floor(a.idempotency_life_s * 1000))
end
if redis.call('EXISTS', row_key(a.id)) == 1 then return redis.error_reply('ID_TAKEN ' .. a.id) end

insert(a.id, 'queued', a.row, a.request, a.due_in, a.queue_ttl_s, a.data)
return { 'accepted', a.id, stamp(now), wake_ups() }
