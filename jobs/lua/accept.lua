--[[ accept: put a job into the ledger, once per idempotency key.
     a: id, row {field: value}, request, due_in, queue_ttl_s, key_names? [the idempotency key's name, then older versions'],
        idempotency_life_s, fingerprint? (with the key), slot_s
     Returns {'accepted', id, alarm, now} or {'replayed', id of the first}; alarm is the seconds until the wake-up must
     be sent, or nil if one for all that is due is on its way.
     Errors IDEMPOTENCY_CONFLICT (the key was used for another request), ID_TAKEN. ]]
if a.key_names then
  local id, fingerprint = holder_of(a.key_names, a.row.tenant)
  if id then
    if fingerprint ~= a.fingerprint then
      return redis.error_reply('IDEMPOTENCY_CONFLICT this key was used for another request, as job ' .. id)
    end
    return { 'replayed', id }
  end
  local key = a.prefix .. 'idempotency:' .. a.key_names[1]
  redis.call('SET', key, a.id .. ' ' .. a.fingerprint, 'PX', math.floor(a.idempotency_life_s * 1000))
end
if redis.call('EXISTS', row_key(a.id)) == 1 then return redis.error_reply('ID_TAKEN ' .. a.id) end

local fields = {
  'id', a.id, 'state', 'queued', 'turn', '1', 'accepted_at', stamp(now), 'deadline_at', stamp(now + a.queue_ttl_s),
  'due_at', stamp(now + a.due_in),
}
for name, value in pairs(a.row) do
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
redis.call('HSET', row_key(a.id), unpack(fields))
redis.call('SET', request_key(a.id), a.request)
redis.call('ZADD', due_key('queued'), stamp(now + a.due_in), a.id)
index(a.id, 'queued', a.row.tenant)
emit(a.id, 'job.accepted', 'queued', 1, a.data)
return { 'accepted', a.id, alarm_to_set('queued', now + a.due_in), stamp(now) }
