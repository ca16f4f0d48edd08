--[[ prelude: the functions that all scripts of the ledger share; it is put before each of them.
     ARGV[1] is a JSON object of named arguments, `a`. Times are seconds since the epoch.
     a.slot_s is the grid of wake-ups, a.lost_after_s how overdue one is lost.
     The fleet has one clock, this server's; a test passes its own as a.now. ]]
local a = cjson.decode(ARGV[1])

local function clock()
  if a.now then return a.now end
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local now = clock()

-- Returns the seconds to wait: `first_s`, doubled for each earlier failure, at most `longest_s`.
local function backoff(first_s, longest_s, failures)
  return math.min(first_s * 2 ^ math.min(math.max(failures, 0), 30), longest_s)
end

local function stamp(seconds) return string.format('%.3f', seconds) end

-- A rate limit: a bucket of `burst` tokens that regains one every `each_s` seconds. Its key stores one moment, when the
-- bucket is full again (GCRA), and lives until then. Ten microseconds make up for rounding.
local function bucket(name, burst, each_s)
  local key = a.prefix .. 'rate:' .. name
  local full_at = math.min(math.max(tonumber(redis.call('GET', key) or '') or 0, now), now + burst * each_s)
  local function tokens() return burst - (full_at - now - 0.00001) / each_s end
  return {
    left = function() return math.max(math.floor(tokens()), 0) end,
    wait_s = function(count) return math.max(count - tokens(), 0) * each_s end,
    full_in_s = function() return full_at - now end,
    take = function(count)
      full_at = full_at + count * each_s
      redis.call('SET', key, string.format('%.6f', full_at), 'PX', math.ceil((full_at - now) * 1000))
    end,
  }
end

local function breaker_key(name) return a.prefix .. 'breaker:' .. name end

-- A circuit breaker. It is open until `half_open_at`, then half-open: one trial decides; without that it is closed.
-- `failures` counts failures in a row, `last` names what failed last.
local function breaker(name)
  local key = breaker_key(name)
  local half_open_at, failures, last = unpack(redis.call('HMGET', key, 'half_open_at', 'failures', 'last'))
  half_open_at, failures = tonumber(half_open_at), tonumber(failures) or 0
  return {
    is_closed = not half_open_at,
    open_s = math.max((half_open_at or 0) - now, 0),
    succeed = function() redis.call('DEL', key) end,
    -- how: after (failures in a row until it opens), first_s, longest_s, wait_s? (instead of the back-off), times? (at
    --   once), of? (failures of the same thing in a row count once), note? [field, value, ...], life_s?
    -- Returns for how many seconds it is open now; nil: it is still closed.
    fail = function(how)
      local times = how.of and how.of == last and 0 or how.times or 1
      -- Once it is open, each failed trial is one step.
      local count = failures >= how.after and failures + 1 or math.min(failures + times, how.after)
      local wait = how.wait_s or backoff(how.first_s, how.longest_s, count - how.after)
      redis.call('HSET', key, 'failures', count, 'last', how.of or '', unpack(how.note or {}))
      if count >= how.after then redis.call('HSET', key, 'half_open_at', stamp(now + wait), 'trial_until', '0') end
      -- An unused breaker closes by itself.
      redis.call('PEXPIRE', key, math.ceil((how.life_s or 2 * (wait + how.longest_s)) * 1000))
      return count >= how.after and wait or nil
    end,
  }
end

local function row_key(id) return a.prefix .. 'job:' .. id end
local function request_key(id) return a.prefix .. 'request:' .. id end
local function log_key(id) return a.prefix .. 'log:' .. id end

-- Returns fields of a row; none if the key is no hash, which a newer version may have left.
local function fields_of(id, ...)
  local row = redis.pcall('HMGET', row_key(id), ...)
  return row.err and {} or row
end

local function index_key(name) return a.prefix .. 'index:' .. name end

-- Returns an idempotency key's job, and its request's fingerprint.
local function holder_of(key_name)
  return string.match(redis.call('GET', a.prefix .. 'idempotency:' .. key_name) or '', '^(%S+) (%S+)$')
end

-- Counts a tenant's jobs in a state; an index's own answer is the change, so that the two cannot drift apart.
local function tally(state, tenant, change)
  local field = state .. ' ' .. (tenant or '')
  if change ~= 0 and redis.call('HINCRBY', index_key('tallies'), field, change) <= 0 then
    redis.call('HDEL', index_key('tallies'), field)
  end
end

local function index_state(id, state, tenant)
  tally(state, tenant, redis.call('ZADD', index_key(state), 0, id))
end

local function unindex_state(id, state, tenant)
  tally(state, tenant, -redis.call('ZREM', index_key(state), id))
end

-- Adds a job to the indexes of all jobs, of its state and of its tenant, each in order of acceptance.
local function index(id, state, tenant)
  redis.call('ZADD', index_key('all'), 0, id)
  index_state(id, state, tenant)
  if tenant and tenant ~= '' then redis.call('ZADD', index_key('tenant:' .. tenant), 0, id) end
end

local function unindex(id, state, tenant)
  redis.call('ZREM', index_key('all'), id)
  unindex_state(id, state, tenant)
  if tenant and tenant ~= '' then redis.call('ZREM', index_key('tenant:' .. tenant), id) end
end

local function due_key(state) return a.prefix .. 'due:' .. state end
local stream_key = a.prefix .. 'events'
local retired_key = a.prefix .. 'retired'

local function item_key(queue, id) return a.prefix .. 'item:' .. queue .. ':' .. id end
local function follow_ups_key(id) return a.prefix .. 'followups:' .. id end
local function receiver_of(queue) return string.match(queue, '^deliver:(.+)$') end
local delivering_key = a.prefix .. 'delivering'
local inputs_key = a.prefix .. 'inputs'
local function account_key(account) return a.prefix .. 'account:' .. account end

-- Returns the pause of an account, or of one 'tenant:T' or 'model:M' there, as JSON; or nothing.
local function paused(account, what)
  return redis.call('HGET', account_key(account), what and 'paused:' .. what or 'paused') or nil
end

local wakes_key = a.prefix .. 'wakes'
local armed = {}

-- Arms the wake-up of a queue for a due time; `id` is the job that causes it.
local function arm(queue, due, id)
  local before = armed[queue]
  if not before or due < before.due or (before.id == '-' and due == before.due) then
    armed[queue] = { due = due, id = id or '-' }
  end
end

-- A claim answers its queue's wake-up. That is answered by its own message, which may ring early on a host whose clock is
-- ahead and is then armed again. A straggler, early or late, must not start a second chain. A caller without a message
-- answers what has rung.
local function answer_wake_up(queue)
  local rings = a.woke and redis.call('HGET', wakes_key, queue)
  if rings and (rings == a.rang or not a.rang and tonumber(rings) <= now + a.early_s) then
    redis.call('HDEL', wakes_key, queue)
  end
end

-- Returns the wake-ups to send, [{queue, job, seconds until it must ring, when that is}]. A future one is rounded up to a
-- grid, so that it serves all that is due by then. None is sent while an earlier one is outstanding, unless that is
-- overdue, and so lost.
local function wake_ups()
  local found = {}
  for queue, wish in pairs(armed) do
    local rings = wish.due <= now and now or math.ceil(wish.due / a.slot_s) * a.slot_s
    local outstanding = tonumber(redis.call('HGET', wakes_key, queue) or '')
    if not outstanding or outstanding > rings or outstanding <= now - a.lost_after_s then
      redis.call('HSET', wakes_key, queue, stamp(rings))
      found[#found + 1] = { queue, wish.id, stamp(rings - now), stamp(rings) }
    end
  end
  return found
end

-- Returns a turn that no follow-up ever had: one that has ended may start again under its name.
local function new_turn() return redis.call('INCRBY', a.prefix .. 'turns', 1) end

local function start_item(queue, id, due)
  local key, life_ms = item_key(queue, id), math.floor(a.retention_s * 1000)
  redis.call('HSET', key, 'turn', new_turn(), 'tries', 0)
  redis.call('ZADD', due_key(queue), stamp(due), id)
  redis.call('SADD', follow_ups_key(id), queue)
  redis.call('PEXPIRE', key, life_ms)
  redis.call('PEXPIRE', follow_ups_key(id), life_ms)
  if receiver_of(queue) then redis.call('SADD', delivering_key, receiver_of(queue)) end
  arm(queue, due, id)
end

local function end_item(queue, id)
  redis.call('DEL', item_key(queue, id))
  redis.call('ZREM', due_key(queue), id)
  redis.call('SREM', follow_ups_key(id), queue)
  if receiver_of(queue) and redis.call('EXISTS', due_key(queue)) == 0 then
    redis.call('SREM', delivering_key, receiver_of(queue))
  end
end

-- Queues an event for a receiver: a line in the one delivery of this job, so that its events arrive in order.
local function put(receiver, id, line)
  local queue = 'deliver:' .. receiver
  local waiting = redis.call('HGET', item_key(queue, id), 'events')
  redis.call('HSET', item_key(queue, id), 'events', waiting and waiting .. '\n' .. line or line)
  if not waiting then start_item(queue, id, now) end
end

local subscriptions = {}
local ends = { ['job.completed'] = 1, ['job.failed'] = 1, ['job.cancelled'] = 1, ['job.expired'] = 1, ['job.fetched_late'] = 1 }

-- Mails a job's event to all who subscribe to it; the server behind the request's own address gets ends.
-- row: tenant?, webhook_receiver?
local function mail(id, event, turn, row)
  if event == 'job.polled' or string.sub(event, 1, 4) ~= 'job.' then return end
  local line = table.concat({ event, turn, stamp(now) }, ' ')
  local function to_subscribers(name)
    subscriptions[name] = subscriptions[name] or redis.call('HGETALL', a.prefix .. 'receivers:' .. name)
    for at = 1, #subscriptions[name], 2 do
      if string.find(',' .. subscriptions[name][at + 1] .. ',', ',' .. event .. ',', 1, true) then
        put(subscriptions[name][at], id, line)
      end
    end
  end
  to_subscribers('all')
  if row.tenant and row.tenant ~= '' then to_subscribers('tenant:' .. row.tenant) end
  if row.webhook_receiver and ends[event] then put(row.webhook_receiver, id, line) end
end

-- Writes an event twice under one id: to the job's own log, and to the event stream of all jobs. Then mails it.
local function emit(id, event, state, turn, data, row)
  local at, shown = stamp(now), data or '{}'
  local entry = redis.call('XADD', stream_key, 'MAXLEN', '~', a.stream_cap, '*',
    'job', id, 'event', event, 'state', state, 'turn', turn, 'at', at, 'data', shown)
  local length = redis.call('RPUSH', log_key(id), table.concat({ entry, event, state, turn, at, shown }, ' '))
  if length > a.job_log_cap then redis.call('LTRIM', log_key(id), -a.job_log_cap, -1) end
  local life_ms = length == 1 and redis.call('PTTL', row_key(id)) or 0
  if life_ms > 0 then redis.call('PEXPIRE', log_key(id), life_ms) end -- a log that was erased, of an ended job
  mail(id, event, turn, row)
end

-- Gives an ended job's keys a TTL; each end also removes a few index entries of jobs whose TTL is over.
local function retire(id, state)
  local life_ms = math.floor(a.retention_s * 1000)
  for _, key in ipairs({ row_key(id), request_key(id), log_key(id) }) do
    redis.call('PEXPIRE', key, life_ms)
  end
  local tenant = redis.call('HGET', row_key(id), 'tenant')
  redis.call('ZADD', retired_key, stamp(now + a.retention_s), id .. ' ' .. state .. (tenant and ' ' .. tenant or ''))
  for _, gone in ipairs(redis.call('ZRANGE', retired_key, '-inf', stamp(now), 'BYSCORE', 'LIMIT', 0, 20)) do
    unindex(string.match(gone, '^(%S+) (%S+) ?(%S*)$'))
    redis.call('ZREM', retired_key, gone)
  end
end

local function slots_key(receiver) return a.prefix .. 'slots:' .. receiver end
local function health_key(receiver) return a.prefix .. 'health:' .. receiver end
