--[[ apply: move jobs, each by itself: a move that is refused, or that raises, stops no other.
     A move is guarded by the job's turn, by its purchase's request_id, or by the turn of one of its follow-ups; and by
     the states that it may start from. All guards come before its first write.
     ARGV[2], ...: a move each {id, turn | request_id, follow_up?, from? [states], to?, final?, once? (a field: if it has a value, nothing
        is written), set? {field: value}, stamps? [fields set to now], bump? [fields], unset? [fields], due_in?,
        arm? (set an alarm for the due time), deadline_in?, follow_ups? {name: due_in}, event?, data?, lesson?}.
     a: slot_s, first_edge_s, buckets_per_octave, buckets, pending_life_ms (how pending generations are counted)
     Returns for each move {1 if it was written, the job's turn, the turn that guarded it, 1 if a cancel was requested,
     alarms [{work, turn, seconds until it must ring}]}, or why it was refused:
     UNKNOWN_JOB, STALE_TURN, WRONG_STATE, or Redis's own error about the row. ]]
local function bucket_of(seconds)
  local octaves = math.log(math.max(seconds, a.first_edge_s) / a.first_edge_s) / math.log(2)
  return tostring(math.min(math.floor(octaves * a.buckets_per_octave), a.buckets - 1))
end

local function is_among(list, value)
  for _, one in ipairs(list) do
    if one == value then return true end
  end
  return false
end

local function follow_up_is_at(m)
  local turn = redis.call('HGET', row_key(m.id), m.follow_up .. '_turn')
  return tonumber(turn or '0') == m.turn and redis.call('ZSCORE', due_key(m.follow_up), m.id)
end

-- Returns why a move may not be applied, or nothing.
local function refusal(m, row)
  if not row.state then return 'UNKNOWN_JOB ' .. m.id end
  if m.follow_up then
    return not follow_up_is_at(m) and 'STALE_TURN ' .. m.follow_up .. ' has moved on' or nil
  end
  if m.request_id and m.request_id ~= row.request_id then
    return 'STALE_TURN the job speaks of purchase ' .. tostring(row.request_id)
  end
  if m.turn and m.turn ~= row.turn then return 'STALE_TURN job is at ' .. tostring(row.turn) end
  if not is_among(m.from, row.state) then return 'WRONG_STATE job is ' .. row.state end
end

local function write_fields(m, turn)
  local key, fields = row_key(m.id), {}
  local function put(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  for name, value in pairs(m.set or {}) do put(name, value) end
  for _, name in ipairs(m.stamps or {}) do put(name, stamp(now)) end
  if m.to then
    put('state', m.to)
    put('turn', turn)
    put('rescues', 0)
  end
  if m.follow_up then put(m.follow_up .. '_turn', m.turn + 1) end
  if m.deadline_in then put('deadline_at', stamp(now + m.deadline_in)) end
  if m.due_in and not m.follow_up then put('due_at', stamp(now + m.due_in)) end
  if m.final then put('finished_at', stamp(now)) end
  if #fields > 0 then redis.call('HSET', key, unpack(fields)) end
  for _, name in ipairs(m.bump or {}) do redis.call('HINCRBY', key, name, 1) end
  if m.unset then redis.call('HDEL', key, unpack(m.unset)) end
end

-- Counts pending generations by kind, so that the quick ones of a burst don't pass for all.
local function count(m, row)
  local key = row_key(m.id)
  if m.stamps and is_among(m.stamps, 'pending_at') then
    if row.kind and row.submitted_at then
      count_pending(key, row.kind, row.reached, bucket_of(now - tonumber(row.submitted_at)))
    end
  elseif m.to and m.to ~= row.state and row.reached then
    count_pending(key, row.kind, row.reached, nil)
  end
end

-- Writes the job's place in the indexes and its next due time. Returns the alarms to set.
local function index_move(m, row, turn)
  local work = m.follow_up or m.to or row.state
  if m.to and m.to ~= row.state then
    redis.call('ZREM', due_key(row.state), m.id)
    redis.call('ZREM', index_key(row.state), m.id)
    redis.call('ZADD', index_key(m.to), 0, m.id)
  end
  if not m.due_in then
    if m.follow_up then redis.call('ZREM', due_key(m.follow_up), m.id) end
    return {}
  end
  redis.call('ZADD', due_key(work), stamp(now + m.due_in), m.id)
  local rings_in = m.arm and alarm_to_set(work, now + m.due_in)
  return rings_in and { { work, m.follow_up and m.turn + 1 or turn, rings_in } } or {}
end

local function applied(m)
  local key = row_key(m.id)
  local row = {}
  row.state, row.turn, row.request_id, row.cancel_requested_at, row.kind, row.reached, row.submitted_at,
    row.reuse_digest = unpack(
    redis.call('HMGET', key, 'state', 'turn', 'request_id', 'cancel_requested_at', 'kind', 'reached', 'submitted_at',
    'reuse_digest'))
  row.turn = tonumber(row.turn)
  local refused = refusal(m, row)
  if refused then return refused end
  local cancel = row.cancel_requested_at and 1 or 0
  if m.once and redis.call('HSETNX', key, m.once, stamp(now)) == 0 then return { 0, row.turn, row.turn, cancel, {} } end

  local turn = m.to and row.turn + 1 or row.turn
  write_fields(m, turn)
  local alarms = index_move(m, row, turn)
  count(m, row)
  if m.event then emit(m.id, m.event, m.to or row.state, turn, m.data) end
  if m.lesson then learn(m.lesson) end
  if m.final then
    redis.call('HDEL', key, 'due_at', 'rescues')
    retire(m.id, m.to)
  end
  if m.to == 'completed' and row.reuse_digest then
    redis.call('SET', a.prefix .. 'reuse:' .. row.reuse_digest, m.id, 'PX', math.floor(a.retention_s * 1000))
  end
  for _, alarm in ipairs(start_follow_ups(m.id, m.follow_ups or {})) do alarms[#alarms + 1] = alarm end
  return { 1, turn, m.follow_up and m.turn + 1 or turn, cancel, alarms }
end

local answers = {}
for place = 2, #ARGV do
  local worked, answer = pcall(function() return applied(cjson.decode(ARGV[place])) end)
  if not worked then answer = type(answer) == 'table' and answer.err or tostring(answer) end
  answers[#answers + 1] = answer
end
return answers
