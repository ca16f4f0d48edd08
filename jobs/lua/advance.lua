--[[ advance: move one job along one edge, if the caller still holds its turn, or the purchase that it speaks for.
     a: id, turn | request_id, from [states], to, due_in?, final, set {field: value}, unset [fields], bump [fields],
        deadline_in?, stamps [fields set to now], errands {errand: due_in}, slot_s? (always with errands), event, data,
        lesson? {kind, shares {bucket: share}, took_s, memory_jobs, memory_of_flight, pace_jobs, life_s} (what this edge teaches of the kind's latency)
     Returns {turn, 1 if a cancel was asked for, else 0, alarms [{work, turn, seconds until it must ring}]}: those of the
     errands that began; else, with slot_s, the job's own, unless the alarm of its slot is set already.
     Errors UNKNOWN_JOB, STALE_TURN, WRONG_STATE. ]]
local row = row_key(a.id)
local state, held_turn, request_id, cancel, kind, reached = unpack(redis.call('HMGET', row, 'state', 'turn',
  'request_id', 'cancel_requested_at', 'kind', 'reached'))
if not state then return redis.error_reply('UNKNOWN_JOB ' .. a.id) end
if a.request_id then
  if request_id ~= a.request_id then
    return redis.error_reply('STALE_TURN the job speaks of purchase ' .. tostring(request_id))
  end
elseif tonumber(held_turn) ~= a.turn then
  return redis.error_reply('STALE_TURN job is at ' .. held_turn)
end
local starts_here = false
for _, from in ipairs(a.from) do starts_here = starts_here or from == state end
if not starts_here then return redis.error_reply('WRONG_STATE job is ' .. state) end

local turn = tonumber(held_turn) + 1
local fields = { 'state', a.to, 'turn', turn, 'rescues', 0 }
local function put(name, value)
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
for name, value in pairs(a.set) do put(name, value) end
for _, name in ipairs(a.stamps) do put(name, stamp(now)) end
if a.deadline_in then put('deadline_at', stamp(now + a.deadline_in)) end
if a.due_in then put('due_at', stamp(now + a.due_in)) end
redis.call('HSET', row, unpack(fields))
for _, name in ipairs(a.bump) do redis.call('HINCRBY', row, name, 1) end
if #a.unset > 0 then redis.call('HDEL', row, unpack(a.unset)) end

redis.call('ZREM', due_key(state), a.id)
if a.to ~= state then
  redis.call('ZREM', index_key(state), a.id)
  redis.call('ZADD', index_key(a.to), 0, a.id)
  if reached then count_pending(row, kind, reached, nil) end
end
emit(a.id, a.event, a.to, turn, a.data)
if a.lesson then learn(a.lesson) end
if a.final then
  redis.call('HDEL', row, 'due_at', 'rescues')
  redis.call('HSET', row, 'finished_at', stamp(now))
  retire(a.id, a.to)
  return { turn, cancel and 1 or 0, start_errands(a.id, a.errands) }
end
redis.call('ZADD', due_key(a.to), stamp(now + a.due_in), a.id)
local rings_in = a.slot_s and alarm_to_set(a.to, now + a.due_in)
return { turn, cancel and 1 or 0, rings_in and { { a.to, turn, rings_in } } or {} }
