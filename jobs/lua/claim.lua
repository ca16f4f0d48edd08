--[[ claim: claim overdue jobs, so that their lost wake-ups can be sent again; the current turn stays valid.
     The claim moves the due time by a lease, so two rescuers never claim the same job, and a job whose wake-up is
     merely slow is woken less and less often (the lease doubles until the job moves).
     a: state, grace_s, limit, lease_s, longest_lease_s
     Returns [id, state, turn, ...] flat; a job whose row is gone leaves the index, one whose row has no state or turn
     is returned with '' in its place and left alone for the longest lease. ]]
local index = due_key(a.state)
local taken = {}
for _, id in ipairs(redis.call('ZRANGE', index, '-inf', stamp(now - a.grace_s), 'BYSCORE', 'LIMIT', 0, a.limit)) do
  local row = row_key(id)
  local state, turn, before = unpack(fields_of(id, 'state', 'turn', 'rescues'))
  local rescues = (tonumber(before or '0') or 0) + 1
  if redis.call('EXISTS', row) == 0 then
    redis.call('ZREM', index, id)
  elseif not state or not tonumber(turn) then
    redis.call('ZADD', index, stamp(now + a.longest_lease_s), id)
    for _, value in ipairs({ id, state or '', turn or '' }) do taken[#taken + 1] = value end
  else
    redis.call('HSET', row, 'rescues', rescues)
    local lease = backoff(a.lease_s, a.longest_lease_s, rescues - 1)
    redis.call('ZADD', index, stamp(now + lease), id)
    emit(id, 'job.rescued', state, turn, cjson.encode({ rescues = rescues, index = 'due:' .. a.state }))
    for _, value in ipairs({ id, state, turn }) do taken[#taken + 1] = value end
  end
end
return taken
