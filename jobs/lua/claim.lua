--[[ claim: take due items of one queue but queued jobs (claim_purchases), each on a lease: its score moves, so that it is due again if the worker dies.
     a: queue, limit, lease_s, early_s, is_follow_up?, fence? (each gets a new turn), woke? (a wake-up has rung),
        rang? (when it was to ring), event?, data? (emitted for each job in that state), wants_request?,
        per_s? (the fleet claims no more; at most a second's worth is saved up), share? (threads that claim: each takes its part of what is due), slot?,
        width, slow_s (of a receiver's queue)
     Returns {now, items [{id, row (HGETALL), item (HGETALL), request or ''}], 1 if more is due, wake-ups}. ]]
local due, until_now = due_key(a.queue), now + a.early_s
answer_wake_up(a.queue)

-- Returns how many deliveries a receiver may be sent now. While its circuit breaker is half-open one is tried; a slow
-- receiver, and one of unknown speed, gets one at a time.
local function room_of(receiver)
  local circuit, slots = breaker('receiver:' .. receiver), slots_key(receiver)
  if circuit.open_s > 0 then
    if redis.call('EXISTS', due) == 1 then arm(a.queue, now + circuit.open_s, '-') end
    return 0
  end
  local took_s = redis.call('HGET', health_key(receiver), 'took_s')
  local is_quick = circuit.is_closed and took_s and tonumber(took_s) <= a.slow_s
  redis.call('ZREMRANGEBYSCORE', slots, '-inf', stamp(now))
  local is_full = redis.call('ZCARD', slots) >= (is_quick and a.width or 1)
  if is_full and not redis.call('ZSCORE', slots, a.slot) then return 0 end
  return is_quick and a.limit or 1
end

local rate = a.per_s and bucket('polls', a.per_s, 1 / a.per_s)
local room = a.slot and room_of(receiver_of(a.queue)) or rate and math.min(a.limit, rate.left()) or a.limit
if a.share then
  room = math.min(room, math.max(1, math.ceil(redis.call('ZCOUNT', due, '-inf', stamp(until_now)) / a.share)))
end
if room == 0 and a.slot then return { stamp(now), {}, 0, wake_ups() } end

local found = redis.call('ZRANGE', due, '-inf', stamp(until_now), 'BYSCORE', 'LIMIT', 0, room + 1)
local left = found[room + 1]
if left then
  arm(a.queue, room < a.limit and rate and now + 1 / a.per_s or now, left)
else
  local later, at = unpack(redis.call('ZRANGE', due, '(' .. stamp(until_now), '+inf', 'BYSCORE', 'LIMIT', 0, 1,
    'WITHSCORES'))
  if later then arm(a.queue, tonumber(at), later) end
end

local function table_of(flat)
  local fields = {}
  for at = 1, #flat, 2 do fields[flat[at]] = flat[at + 1] end
  return fields
end

-- Gives a row, or an item, its new turn.
local function fence(key, flat, turn)
  redis.call('HSET', key, 'turn', turn)
  flat[#flat + 1] = 'turn'
  flat[#flat + 1] = tostring(turn)
end

-- Claims one item; returns nothing if it is gone.
local function claimed(id)
  local row, item = redis.pcall('HGETALL', row_key(id)), {}
  if row.err then row = { 'id', id } end -- no hash: the worker reports it
  if a.is_follow_up then
    item = redis.call('HGETALL', item_key(a.queue, id))
    if #item == 0 then return end_item(a.queue, id) end
    if a.fence then fence(item_key(a.queue, id), item, new_turn()) end
    redis.call('HSET', item_key(a.queue, id), 'busy', 1)
  else
    if #row == 0 then
      redis.call('ZREM', due, id)
      return
    end
    if a.fence then fence(row_key(id), row, redis.call('HGET', row_key(id), 'turn') + 1) end
  end
  redis.call('ZADD', due, stamp(now + a.lease_s), id)
  if a.event then
    local fields = table_of(row)
    -- A row in a state of a newer version is left to it, and its log too.
    if fields.state == a.queue then emit(id, a.event, fields.state, fields.turn, a.data, fields) end
  end
  return { id, row, item, a.wants_request and redis.call('GET', request_key(id)) or '' }
end

local items = {}
for at = 1, math.min(#found, room) do
  local worked, item = pcall(claimed, found[at])
  if worked then
    items[#items + 1] = item
  else
    -- One unreadable row must not keep the others from being claimed.
    redis.call('ZADD', due, stamp(now + a.lease_s), found[at])
    items[#items + 1] = { found[at], { 'id', found[at] }, {}, '' }
  end
end
if rate and #items > 0 then rate.take(#items) end
if a.slot and #items > 0 then
  redis.call('ZADD', slots_key(receiver_of(a.queue)), stamp(now + a.lease_s), a.slot)
  redis.call('PEXPIRE', slots_key(receiver_of(a.queue)), math.floor(a.lease_s * 2000))
end
return { stamp(now), items, left and 1 or 0, wake_ups() }
