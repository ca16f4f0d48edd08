--[[ try_now: try at once what waits because the upstream refused it.
     An open circuit breaker becomes half-open: one trial still decides, and one under way is left alone. Held jobs become
     ready: while the breaker is open they stand in line. The next poll of each queue is due, to be the trial of polls.
     a: account, limit (queued jobs that are looked at)
     Returns {the kinds of request whose breaker is not closed, how many jobs were held, wake-ups}. ]]
local kinds, held = {}, 0
for _, kind in ipairs({ 'submit', 'poll' }) do
  local name = a.account .. ':' .. kind
  local circuit = breaker(name)
  if not circuit.is_closed then kinds[#kinds + 1] = kind end
  if circuit.open_s > 0 then redis.call('HSET', breaker_key(name), 'half_open_at', stamp(now)) end
end

-- One that is being bought, is about to be cancelled, stands in line, or waits for a paused model is left alone.
local function is_held(id, row)
  return row.state == 'queued' and not row.cancel_requested_at and fields_of(id, 'hold')[1]
    and not redis.call('ZSCORE', in_flight_key(row.account), id)
    and not redis.call('ZSCORE', ready_key(row.account, row.tenant), id)
    and not redis.call('ZSCORE', parked_key(row.account, row.model or ''), id)
end

for _, id in ipairs(redis.call('ZRANGE', due_key('queued'), '(' .. stamp(now), '+inf', 'BYSCORE', 'LIMIT', 0, a.limit)) do
  local row = admission_fields(id)
  if is_held(id, row) then
    redis.call('HSET', row_key(id), 'due_at', stamp(now))
    make_ready(id, row)
    held = held + 1
  end
end
arm_purchases(a.account)

if kinds[#kinds] == 'poll' then
  for _, queue in ipairs({ 'rendering', 'slow_polls' }) do
    local id = redis.call('ZRANGE', due_key(queue), 0, 0)[1]
    if id then
      redis.call('ZADD', due_key(queue), 'LT', stamp(now), id)
      arm(queue, now, id)
    end
  end
end
return { kinds, held, wake_ups() }
