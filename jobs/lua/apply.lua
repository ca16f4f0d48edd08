--[[ apply: move items, each by itself: a move that is refused, or that raises, stops no other.
     A job's move is guarded by its turn, or by its purchase's request_id, and by the states that it may start from; a
     follow-up's move by the turn of its item. All guards come before its first write.
     ARGV[2], ...: a move each {id, item? (the queue of a follow-up), turn | request_id, from? [states], to?, queue? (where it
        is due, if not in that of its state), final?, once? (a field: if it has a value, nothing is written),
        set? {field: value}, stamps? [fields set to now], bump? [fields], unset? [fields], due_in?, lease? (due_in is a
        lease: nobody is woken), deadline_in?, follow_ups? {queue: due_in}, delivered? (the first event is done), tries?,
        event?, data?, took? {kind, interval, kept, life_ms}}.
     Returns {answers, wake-ups}; for each move {1 if it was written, the turn}, or why it was refused:
     UNKNOWN_JOB, STALE_TURN, WRONG_STATE, or Redis's own error about the row. ]]
local UNTHROTTLED_S = 60 -- without a 429; then the account may try whether more can run

local function is_among(list, value)
  for _, one in ipairs(list) do
    if one == value then return true end
  end
  return false
end

local function is_paused(row)
  return paused(row.account) or paused(row.account, 'tenant:' .. row.tenant) or paused(row.account, 'model:' .. (row.model or ''))
end

-- Returns why a move may not be applied, or nothing.
local function refusal(m, row, item)
  if m.item then
    return tonumber(item.turn or '') ~= m.turn and 'STALE_TURN ' .. m.item .. ' has moved on' or nil
  end
  if not row.state then return 'UNKNOWN_JOB ' .. m.id end
  if m.request_id and m.request_id ~= row.request_id then
    return 'STALE_TURN the job speaks of purchase ' .. tostring(row.request_id)
  end
  if m.turn and m.turn ~= row.turn then return 'STALE_TURN job is at ' .. tostring(row.turn) end
  if not is_among(m.from, row.state) then return 'WRONG_STATE job is ' .. row.state end
  if m.to == 'submitting' and is_paused(row) then return 'WRONG_STATE buying is paused' end
end

local function write_fields(m, turn)
  local key, fields = row_key(m.id), {}
  local function put_field(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  for name, value in pairs(m.set or {}) do put_field(name, value) end
  for _, name in ipairs(m.stamps or {}) do put_field(name, stamp(now)) end
  if not m.item then
    put_field('turn', turn)
    if m.to then put_field('state', m.to) end
    if m.queue then put_field('queue', m.queue) end
    if m.deadline_in then put_field('deadline_at', stamp(now + m.deadline_in)) end
    if m.due_in then put_field('due_at', stamp(now + m.due_in)) end
    if m.final then put_field('finished_at', stamp(now)) end
  end
  if #fields > 0 then redis.call('HSET', key, unpack(fields)) end
  for _, name in ipairs(m.bump or {}) do redis.call('HINCRBY', key, name, 1) end
  if m.unset then redis.call('HDEL', key, unpack(m.unset)) end
end

-- Keeps the newest durations of a kind of job, so that the next ones are polled when they usually end.
local function keep_duration(took)
  local key = a.prefix .. 'durations:' .. took.kind
  redis.call('LPUSH', key, took.interval)
  redis.call('LTRIM', key, 0, took.kept - 1)
  redis.call('PEXPIRE', key, took.life_ms)
end

local function make_due(queue, m, row)
  if queue == 'queued' and not m.lease then return enqueue(m.id, row, m.due_in) end
  redis.call('ZADD', due_key(queue), stamp(now + m.due_in), m.id)
  if not m.lease then arm(queue, now + m.due_in, m.id) end
end

-- A generation that is in doubt, or whose job has given it up, is counted for as long as generations may take.
local function count(m, row)
  local ran = IN_FLIGHT[row.state]
  if m.to == 'in_doubt' then
    if row.state ~= 'in_doubt' then count_in_flight(m.id, row, now + (tonumber(row.deadline_s) or 0)) end
  elseif IN_FLIGHT[m.to] then
    if row.state == 'in_doubt' or not ran and row.state ~= 'storing' then count_in_flight(m.id, row) end
  elseif ran and (m.to == 'cancelled' or m.to == 'expired') then
    count_in_flight(m.id, row, now + (tonumber(row.deadline_s) or 0))
  else
    count_no_more(m.id, row)
  end
end

-- One more may run after each receipt that comes while as many run as may, if no 429 came for a while.
local function learn(row)
  local learnt, throttled_at = unpack(redis.call('HMGET', account_key(row.account), 'learnt', 'throttled_at'))
  if not learnt or now < (tonumber(throttled_at) or 0) + UNTHROTTLED_S then return end
  if awaited(row.account) < tonumber(learnt) then return end
  redis.call('HINCRBY', account_key(row.account), 'learnt', 1)
  arm_purchases(row.account)
end

-- Writes the job's place in the indexes and its next due time.
local function index_job(m, row)
  if m.to and m.to ~= row.state then
    unindex_state(m.id, row.state, row.tenant)
    index_state(m.id, m.to, row.tenant)
  end
  local from, into = row.queue or row.state, m.queue or m.to or row.queue or row.state
  if from ~= into or m.final then redis.call('ZREM', due_key(from), m.id) end
  if row.queue and row.queue ~= into then redis.call('HDEL', row_key(m.id), 'queue') end
  if row.state == 'queued' and (m.to or m.due_in) then make_unready(m.id, row) end
  if m.due_in and not m.final then make_due(into, m, row) end
  if (m.to and m.to ~= row.state) or (row.state == 'queued' and m.due_in) then count(m, row) end
  if m.to == 'rendering' and row.state == 'submitting' then learn(row) end
end

-- Ends the follow-up, or makes it due again; events that came meanwhile are due at once.
local function index_item(m, item, row)
  local key, rest = item_key(m.item, m.id), nil
  if m.delivered then
    rest = string.match(item.events or '', '^[^\n]*\n(.+)$')
    m.due_in = rest and 0
    if rest then redis.call('HSET', key, 'events', rest) end
  end
  if not m.due_in then
    if m.item == 'late_fetch' then count_no_more(m.id, row) end
    return end_item(m.item, m.id)
  end
  redis.call('HSET', key, 'turn', new_turn(), 'busy', 0)
  if m.tries then redis.call('HSET', key, 'tries', m.tries) end
  make_due(m.item, m, row)
end

local fields = { 'state', 'turn', 'queue', 'request_id', 'cancel_requested_at', 'reuse_digest', 'tenant',
  'webhook_receiver', 'account', 'model', 'priority', 'accepted_at', 'deadline_at', 'deadline_s' }

local function read(m)
  local row, item = {}, {}
  for at, value in ipairs(redis.call('HMGET', row_key(m.id), unpack(fields))) do row[fields[at]] = value or nil end
  row.turn, row.account, row.tenant = tonumber(row.turn), row.account or 'default', row.tenant or ''
  if m.deadline_in then row.deadline_at = stamp(now + m.deadline_in) end
  if m.item then item.turn, item.events = unpack(redis.call('HMGET', item_key(m.item, m.id), 'turn', 'events')) end
  return row, item
end

local function applied(m)
  local key = row_key(m.id)
  local row, item = read(m)
  local refused = refusal(m, row, item)
  if refused then return refused end
  if m.once and redis.call('HSETNX', key, m.once, stamp(now)) == 0 then return { 0, row.turn } end

  -- Once the outcome of a purchase is known, the next step grants the cancel that was requested meanwhile.
  if row.cancel_requested_at and m.due_in and m.to and not m.lease and m.to ~= 'in_doubt' then m.due_in = 0 end
  local turn = (m.to or m.due_in) and not m.item and row.turn + 1 or row.turn
  if row.state then write_fields(m, turn) end
  if m.item then index_item(m, item, row) else index_job(m, row) end
  if m.event and row.state then emit(m.id, m.event, m.to or row.state, turn, m.data, row) end
  if m.took then keep_duration(m.took) end
  if m.final then
    redis.call('HDEL', key, 'due_at')
    retire(m.id, m.to)
  end
  if m.to == 'completed' and row.reuse_digest then
    redis.call('SET', a.prefix .. 'reuse:' .. row.reuse_digest, m.id, 'PX', math.floor(a.retention_s * 1000))
  end
  for queue, due_in in pairs(m.follow_ups or {}) do start_item(queue, m.id, now + due_in) end
  return { 1, turn or 0 }
end

local answers = {}
for place = 2, #ARGV do
  local worked, answer = pcall(function() return applied(cjson.decode(ARGV[place])) end)
  if not worked then answer = type(answer) == 'table' and answer.err or tostring(answer) end
  answers[#answers + 1] = answer
end
return { answers, wake_ups() }
