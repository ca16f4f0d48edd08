--[[ breaker: one circuit breaker for the whole fleet, for a kind of request to an upstream account.
     A failure that concerns every job (a wrong key, no credits, "slow down", an upstream that is down) opens it. When
     its time is up it is half-open and lets one trial request through; a request that succeeds closes it.
     a: breaker (<account>:<kind>), verb 'ask' (trial_s, again_s) | 'passed' |
        'refused' (hold, message, first_s, longest_s, wait_s?, after, times)
        'refused' may name sent_at, when a request was sent that was throttled: the account learns how many may run.
     Returns for 'ask': {0} go, or {wait in milliseconds, hold, message};
     for the others {1 if it opened or closed, else 0, milliseconds until it is half-open, wake-ups}. ]]
local account = string.match(a.breaker, '^(.*):')
local circuit = breaker(a.breaker)

if a.verb == 'ask' then
  if circuit.is_closed then return { 0 } end
  local key, wait = breaker_key(a.breaker), circuit.open_s
  local trial_until, hold, message = unpack(redis.call('HMGET', key, 'trial_until', 'hold', 'message'))
  -- A trial request under way may be answered at any moment, long before it is given up.
  if wait == 0 then wait = math.min((tonumber(trial_until) or 0) - now, a.again_s) end
  if wait > 0 then return { math.ceil(wait * 1000), hold, message } end
  redis.call('HSET', key, 'trial_until', stamp(now + a.trial_s))
  return { 0 }
end

if a.verb == 'passed' then
  circuit.succeed()
  arm_purchases(account)
  return { circuit.is_closed and 0 or 1, 0, wake_ups() }
end

-- Fewer may run from now on than might until now, or than ran if that was any number; once for all requests that were sent
-- before. A trial's 429 teaches nothing: while the upstream throttles, ever fewer run, and the limit would fall to one.
if a.sent_at then
  local known = account_key(account)
  local learnt, throttled_at = unpack(redis.call('HMGET', known, 'learnt', 'throttled_at'))
  if circuit.is_closed and a.sent_at > (tonumber(throttled_at) or 0) then
    local most = tonumber(learnt) or awaited(account) - 1
    most = math.min(most, limits_of(account).in_flight or math.huge)
    redis.call('HSET', known, 'learnt', math.max(math.floor(0.7 * most), 1))
  end
  redis.call('HSET', known, 'throttled_at', stamp(now))
end

local open_s = circuit.fail({ after = a.after, first_s = a.first_s, longest_s = a.longest_s, wait_s = a.wait_s,
  times = a.times, note = { 'hold', a.hold, 'message', a.message } })
return { (open_s and circuit.is_closed) and 1 or 0, math.ceil((open_s or 0) * 1000), {} }
