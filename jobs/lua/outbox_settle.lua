--[[ outbox_settle: write how a claimed delivery went; it is over, or due again later.
     a: receiver, id, turn, over (told, or given up), told, blameless (the receiver is not why it could not be told),
        next_in, took_s, line (for the log, without its time), log_cap, log_life_s, breaker_after, hold_first_s,
        hold_longest_s, event?, data
     Returns {seconds that the receiver has been failing, 1 if it is held now}.     Errors STALE_TURN. ]]
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

-- What fails again and again for one job says nothing of the receiver: only different ones in a row count.
local failing_s, held_until = 0, nil
local before_s = tonumber(redis.call('HGET', health, 'took_s') or a.took_s)
redis.call('HSET', health, 'took_s', string.format('%.3f', 0.7 * before_s + 0.3 * a.took_s))
if a.delivered then
  redis.call('HDEL', health, 'failures', 'failing_since', 'held_until', 'holds', 'last')
elseif not a.blameless then
  local last = redis.call('HGET', health, 'last')
  local failures = redis.call('HINCRBY', health, 'failures', (last == a.id) and 0 or 1)
  redis.call('HSETNX', health, 'failing_since', stamp(now))
  failing_s = now - tonumber(redis.call('HGET', health, 'failing_since'))
  redis.call('HSET', health, 'last', a.id)
  if failures >= a.breaker_after then
    local holds = redis.call('HINCRBY', health, 'holds', 1)
    held_until = now + backoff(a.hold_first_s, a.hold_longest_s, holds - 1)
    redis.call('HSET', health, 'held_until', stamp(held_until))
  end
end
redis.call('PEXPIRE', health, life_ms)
note_next(a.receiver, held_until)

local log = a.prefix .. 'deliveries:' .. a.receiver
redis.call('XADD', log, 'MAXLEN', '~', a.log_cap, '*', 'at', stamp(now), 'line', a.line)
redis.call('PEXPIRE', log, math.floor(a.log_life_s * 1000))
local state, job_turn = unpack(redis.call('HMGET', row_key(a.id), 'state', 'turn'))
if state and a.event then emit(a.id, a.event, state, job_turn, a.data) end
return { math.floor(failing_s), held_until and 1 or 0 }
