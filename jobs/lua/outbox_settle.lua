--[[ outbox_settle: write a claimed delivery's outcome; it is over, or due again later.
     a: receiver, id, turn, over (delivered, or given up), delivered, blameless (the receiver is not why it failed),
        next_in, took_s, line (for the log, without its time), log_cap, log_life_s, after, first_s,
        longest_s, event?, data
     Returns the seconds that the receiver has been failing.     Errors STALE_TURN. ]]
local key, outbox, health = delivery_key(a.receiver, a.id), outbox_key(a.receiver), health_key(a.receiver)
local life_ms = math.floor(a.retention_s * 1000)
local turn, pending = unpack(redis.call('HMGET', key, 'turn', 'pending'))
if tonumber(turn or '0') ~= a.turn then
  return redis.error_reply('STALE_TURN the delivery is at ' .. tostring(turn))
end
redis.call('ZREM', slots_key(a.receiver), a.id)

if a.over then
  local rest = string.match(pending or '', '^[^,]+,(.+)$')
  redis.call('HSET', key, 'tries', 0, 'pending', rest or '')
  if rest then redis.call('ZADD', outbox, stamp(now), a.id) else redis.call('ZREM', outbox, a.id) end
else
  if not a.blameless then redis.call('HINCRBY', key, 'tries', 1) end
  redis.call('ZADD', outbox, stamp(now + a.next_in), a.id)
end

-- Repeated failures of one job say nothing about the receiver: only different jobs in a row count.
local circuit, failing_s, open_s = breaker('receiver:' .. a.receiver), 0, nil
local before_s = tonumber(redis.call('HGET', health, 'took_s') or a.took_s)
redis.call('HSET', health, 'took_s', string.format('%.3f', 0.7 * before_s + 0.3 * a.took_s))
if a.delivered then
  circuit.succeed()
  redis.call('HDEL', health, 'failing_since')
elseif not a.blameless then
  redis.call('HSETNX', health, 'failing_since', stamp(now))
  failing_s = now - tonumber(redis.call('HGET', health, 'failing_since'))
  open_s = circuit.fail({ of = a.id, after = a.after, first_s = a.first_s, longest_s = a.longest_s,
    life_s = a.retention_s })
end
redis.call('PEXPIRE', health, life_ms)
note_next(a.receiver, open_s and now + open_s)

local log = a.prefix .. 'deliveries:' .. a.receiver
redis.call('XADD', log, 'MAXLEN', '~', a.log_cap, '*', 'at', stamp(now), 'line', a.line)
redis.call('PEXPIRE', log, math.floor(a.log_life_s * 1000))
local state, job_turn = unpack(redis.call('HMGET', row_key(a.id), 'state', 'turn'))
if state and a.event then emit(a.id, a.event, state, job_turn, a.data) end
return math.floor(failing_s)
