--[[ gate: one door for the whole fleet before a kind of request to the upstream.
     It is closed by what concerns everybody (a wrong key, no credits, "slow down", an upstream that is down), opens by
     itself a crack when its time is up, lets one probe through, and opens wide when a request succeeds.
     a: gate, verb 'ask' (probe_s, again_s) | 'passed' | 'refused' (hold, message, first_s, longest_s, wait_s?, after, times)
     Returns for 'ask': {0} go, or {wait in milliseconds, hold, message}; for the others {1 if the door moved, else 0}. ]]
local key = a.prefix .. 'gate:' .. a.gate
local open_at, probe_until, refusals, hold, message = unpack(redis.call('HMGET', key, 'open_at', 'probe_until',
  'refusals', 'hold', 'message'))

if a.verb == 'ask' then
  if not open_at then return { 0 } end
  local wait = tonumber(open_at) - now
  -- A probe is under way: its answer may come at any moment, long before it is given up.
  if wait <= 0 then wait = math.min(tonumber(probe_until or '0') - now, a.again_s) end
  if wait > 0 then return { math.ceil(wait * 1000), hold, message } end
  redis.call('HSET', key, 'probe_until', stamp(now + a.probe_s))
  return { 0 }
end

if a.verb == 'passed' then
  local was_closed = open_at and 1 or 0
  redis.call('DEL', key)
  return { was_closed }
end

-- Polls that were made together count together until the door shuts; from then on each try is one step.
local before = tonumber(refusals or '0')
local count = before >= a.after and before + 1 or math.min(before + a.times, a.after)
local wait = a.wait_s or math.min(a.first_s * 2 ^ math.min(math.max(count - a.after, 0), 20), a.longest_s)
redis.call('HSET', key, 'refusals', count, 'hold', a.hold, 'message', a.message)
if count >= a.after then
  if not open_at then redis.call('HSET', key, 'closed_at', stamp(now)) end
  redis.call('HSET', key, 'open_at', stamp(now + wait), 'probe_until', '0')
end
-- A door that nobody comes to any more stands open again.
redis.call('PEXPIRE', key, math.ceil((wait + a.longest_s) * 2000))
return { (count >= a.after and not open_at) and 1 or 0 }
