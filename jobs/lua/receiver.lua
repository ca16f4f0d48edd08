--[[ receiver: record how a receiver took a batch of deliveries, and free the slot that made them.
     a: receiver, slot, outcomes [{id, delivered, blameless (the receiver is not why it failed), took_s, line}] in their
        order, log_cap, log_life_s, after, first_s, longest_s
     Returns {the seconds that the receiver has been failing, wake-ups}. ]]
local health, circuit_name, failing_s = health_key(a.receiver), 'receiver:' .. a.receiver, 0
local log = a.prefix .. 'deliveries:' .. a.receiver
for _, one in ipairs(a.outcomes) do
  if not one.blameless then -- else it was perhaps not even called
    local before_s = tonumber(redis.call('HGET', health, 'took_s') or one.took_s)
    redis.call('HSET', health, 'took_s', string.format('%.3f', 0.7 * before_s + 0.3 * one.took_s))
  end
  if one.delivered then
    breaker(circuit_name).succeed()
    redis.call('HDEL', health, 'failing_since')
    failing_s = 0
  elseif not one.blameless then
    -- Repeated failures of one job say nothing about the receiver: only different jobs in a row count.
    redis.call('HSETNX', health, 'failing_since', stamp(now))
    failing_s = now - tonumber(redis.call('HGET', health, 'failing_since'))
    breaker(circuit_name).fail({ of = one.id, after = a.after, first_s = a.first_s, longest_s = a.longest_s,
      life_s = a.retention_s })
  end
  redis.call('XADD', log, 'MAXLEN', '~', a.log_cap, '*', 'at', stamp(now), 'line', one.line)
end
redis.call('PEXPIRE', health, math.floor(a.retention_s * 1000))
redis.call('PEXPIRE', log, math.floor(a.log_life_s * 1000))
redis.call('ZREM', slots_key(a.receiver), a.slot)
local id, at = unpack(redis.call('ZRANGE', due_key('deliver:' .. a.receiver), 0, 0, 'WITHSCORES'))
if id then arm('deliver:' .. a.receiver, math.max(tonumber(at), now + breaker(circuit_name).open_s), id) end
return { math.floor(failing_s), wake_ups() }
