--[[ outbox_take: claim the delivery of a receiver that has been due the longest, if one more of its slots may be used.
     The claim moves the delivery's due time by a lease, so that it is due again if the worker dies.
     While the circuit breaker is open nothing is claimed, and while it is half-open one slot tries. A slow receiver,
     and one of unknown speed, has one slot.
     a: receiver, worker, lease_s, width, slow_s
     Returns {id, turn, event, tries, 1 if another slot would find work}, or nothing. ]]
local slots, outbox = slots_key(a.receiver), outbox_key(a.receiver)
local circuit = breaker('receiver:' .. a.receiver)
if circuit.open_s > 0 then
  note_next(a.receiver, now + circuit.open_s)
  return {}
end
local took_s = redis.call('HGET', health_key(a.receiver), 'took_s')
local is_quick = took_s and tonumber(took_s) <= a.slow_s
local width = (is_quick and circuit.is_closed) and a.width or 1
redis.call('ZREMRANGEBYSCORE', slots, '-inf', stamp(now))
local used = redis.call('ZCARD', slots)
if used >= width then return {} end

for _, id in ipairs(redis.call('ZRANGE', outbox, '-inf', stamp(now), 'BYSCORE', 'LIMIT', 0, 10)) do
  local key = delivery_key(a.receiver, id)
  local held = redis.pcall('HMGET', key, 'pending', 'tries', 'turn')
  local pending, tries, turn = unpack(held.err and {} or held)
  if held.err or (turn and not tonumber(turn)) then
    redis.call('ZADD', outbox, stamp(now + a.lease_s), id) -- left to a newer version
  elseif pending and pending ~= '' then
    turn = redis.call('HINCRBY', key, 'turn', 1)
    redis.call('HSET', key, 'worker', a.worker, 'taken_at', stamp(now))
    redis.call('ZADD', outbox, stamp(now + a.lease_s), id)
    redis.call('ZADD', slots, stamp(now + a.lease_s), id)
    redis.call('PEXPIRE', slots, math.floor(a.lease_s * 2000))
    note_next(a.receiver)
    local more = used + 1 < width and redis.call('ZCOUNT', outbox, '-inf', stamp(now)) > 0
    return { id, turn, string.match(pending, '^[^,]+'), tonumber(tries) or 0, more and 1 or 0 }
  else
    redis.call('ZREM', outbox, id) -- its delivery was forgotten with its job
  end
end
note_next(a.receiver)
return {}
