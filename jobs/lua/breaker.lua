--[[ breaker: one circuit breaker for the whole fleet, for a kind of request to the upstream.
     It is opened by what concerns everybody (a wrong key, no credits, "slow down", an upstream that is down), is
     half-open when its time is up, lets one trial request through, and is closed when a request succeeds.
     a: breaker, verb 'ask' (trial_s, again_s) | 'passed' |
        'refused' (hold, message, first_s, longest_s, wait_s?, after, times)
     Returns for 'ask': {0} go, or {wait in milliseconds, hold, message};
     for the others {1 if it opened or closed, else 0}. ]]
local key = a.prefix .. 'breaker:' .. a.breaker
local half_open_at, trial_until, refusals, hold, message = unpack(redis.call('HMGET', key, 'half_open_at',
  'trial_until', 'refusals', 'hold', 'message'))

if a.verb == 'ask' then
  if not half_open_at then return { 0 } end
  local wait = tonumber(half_open_at) - now
  -- A trial request is under way: its answer may come at any moment, long before it is given up.
  if wait <= 0 then wait = math.min(tonumber(trial_until or '0') - now, a.again_s) end
  if wait > 0 then return { math.ceil(wait * 1000), hold, message } end
  redis.call('HSET', key, 'trial_until', stamp(now + a.trial_s))
  return { 0 }
end

if a.verb == 'passed' then
  local was_open = half_open_at and 1 or 0
  redis.call('DEL', key)
  return { was_open }
end

-- Polls that were made together count together until the breaker opens; from then on each try is one step.
local before = tonumber(refusals or '0')
local count = before >= a.after and before + 1 or math.min(before + a.times, a.after)
local wait = a.wait_s or backoff(a.first_s, a.longest_s, count - a.after)
redis.call('HSET', key, 'refusals', count, 'hold', a.hold, 'message', a.message)
if count >= a.after then
  if not half_open_at then redis.call('HSET', key, 'opened_at', stamp(now)) end
  redis.call('HSET', key, 'half_open_at', stamp(now + wait), 'trial_until', '0')
end
-- A breaker that nobody asks any more closes by itself.
redis.call('PEXPIRE', key, math.ceil((wait + a.longest_s) * 2000))
return { (count >= a.after and not half_open_at) and 1 or 0 }
