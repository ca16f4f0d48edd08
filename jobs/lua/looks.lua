--[[ looks: take the generations whose look is due, so that whoever woke looks at them all.
     Taking one moves its due time by a lease: if the taker dies, it is due again. Its turn stays, and guards what the
     taker writes. The alarms that have rung are forgotten.
     a: limit, lease_s, early_s, per_s? (the fleet looks no oftener; at most a second's worth is saved up)
     Returns {now, rows [HGETALL of each], more}; more: {id, turn, wait_s} of a look that is due and was not taken. ]]
local due, rate_key = due_key('rendering'), a.prefix .. 'rate:look'
local until_now = stamp(now + a.early_s)
redis.call('ZREMRANGEBYSCORE', alarms_key, '-inf', until_now)

local room, free_at = a.limit, now
if a.per_s then
  free_at = math.max(tonumber(redis.call('GET', rate_key) or '0'), now - 1)
  room = math.max(math.min(room, math.floor((now - free_at) * a.per_s)), 0)
end
local found = redis.call('ZRANGE', due, '-inf', until_now, 'BYSCORE', 'LIMIT', 0, room + 1)
local rows = {}
for index = 1, math.min(#found, room) do
  local row = redis.call('HGETALL', row_key(found[index]))
  if #row == 0 then
    redis.call('ZREM', due, found[index])
  else
    redis.call('ZADD', due, stamp(now + a.lease_s), found[index])
    rows[#rows + 1] = row
  end
end
if a.per_s and #rows > 0 then redis.call('SET', rate_key, stamp(free_at + #rows / a.per_s), 'PX', 5000) end
local left = found[room + 1]
if not left then return { stamp(now), rows } end
local wait_s = room < a.limit and 1 / a.per_s or 0
return { stamp(now), rows, { left, redis.call('HGET', row_key(left), 'turn'), tostring(wait_s) } }
