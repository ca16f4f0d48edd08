--[[ admission: which queued job is bought next, and when. Every script has these functions, after the prelude.
     A queued job waits in due:queued until it is due. Then it is ready: it stands in its tenant's line, in order of
     acceptance (high priority an hour earlier, low an hour later), and due:queued holds its deadline. Tenants are served
     by weight (start-time fair queuing): each job takes 1/weight of virtual time, and the earliest start goes first.
     Jobs without a tenant are those of the tenant ''.

     ready:<account>:<tenant>      zset  job -> its place in the line
     waiting:<account>             set   the tenants that have a ready job
     tenants:<account>             zset  tenant -> its start; the waiting tenants that nothing of their own holds back
     finish:<account>              zset  tenant -> where its newest job ended in virtual time, while that is ahead
     rates:<account>               zset  tenant -> when its rate lets it go on
     in_flight:<account>[:<tenant>] zset  job that runs upstream -> +inf, or (in doubt, given up) when it is counted no more
     parked:<account>:<model>      zset  ready jobs of a paused model
     limits:<account>              hash  <account|tenants|tenant:T>.<in_flight|per_min|weight>; settings.* are the settings'
     account:<account>             hash  paused, paused:tenant:T, paused:model:M, virtual, learnt, throttled_at, looked_at ]]
local FIRST_BY = { high = -3600, low = 3600 }
local IN_FLIGHT = { submitting = 1, in_doubt = 1, rendering = 1 }

local function ready_key(account, tenant) return a.prefix .. 'ready:' .. account .. ':' .. tenant end
local function waiting_key(account) return a.prefix .. 'waiting:' .. account end
local function tenants_key(account) return a.prefix .. 'tenants:' .. account end
local function finish_key(account) return a.prefix .. 'finish:' .. account end
local function rates_key(account) return a.prefix .. 'rates:' .. account end
local function parked_key(account, model) return a.prefix .. 'parked:' .. account .. ':' .. model end
local function in_flight_key(account, tenant)
  return a.prefix .. 'in_flight:' .. account .. (tenant and ':' .. tenant or '')
end

-- Returns what the functions below need of a row.
local function admission_fields(id)
  local row, names = {}, { 'state', 'account', 'tenant', 'priority', 'model', 'accepted_at', 'deadline_at',
    'cancel_requested_at' }
  for at, value in ipairs(fields_of(id, unpack(names))) do row[names[at]] = value or nil end
  row.account, row.tenant = row.account or 'default', row.tenant or ''
  return row
end

local known_limits, circuits = {}, {}

-- Returns the limits of an account, or of one of its tenants: in_flight?, per_min?, weight?. One set for the tenant
-- itself comes first, then one for every tenant, then the settings'; 'none' lifts a limit.
local function limits_of(account, tenant)
  local name = account .. ' ' .. (tenant or '\n')
  if not known_limits[name] then
    local own, all = tenant and 'tenant:' .. tenant or 'account', tenant and 'tenants' or 'account'
    local found = redis.call('HMGET', a.prefix .. 'limits:' .. account, own .. '.in_flight', own .. '.per_min',
      own .. '.weight', all .. '.in_flight', all .. '.per_min', 'settings.' .. all .. '.in_flight',
      'settings.' .. all .. '.per_min')
    known_limits[name] = {
      in_flight = tonumber(found[1] or found[4] or found[6] or ''),
      per_min = tonumber(found[2] or found[5] or found[7] or ''),
      weight = tonumber(found[3] or '') or 1,
    }
  end
  return known_limits[name]
end

-- Returns the bucket of purchases a minute, or nothing. It saves up for about a second, as wake-ups ring on a grid, and
-- refills so much slower that no minute has more than the rate.
local function rate_of(account, tenant)
  local per_min = limits_of(account, tenant).per_min
  if not per_min then return end
  local burst = math.ceil(per_min / 40)
  local each_s = 60 / (burst == 1 and per_min or per_min - burst)
  return bucket('buy:' .. account .. (tenant and ':' .. tenant or ''), burst, each_s)
end

-- Returns how many generations run upstream for a job that waits for them. What the upstream allows is learnt from these
-- alone: a purchase in doubt may never have been bought, and must not keep all others waiting.
local function awaited(account) return redis.call('ZCOUNT', in_flight_key(account), '+inf', '+inf') end

-- Returns how many more generations may run upstream.
local function room_in_flight(account, tenant)
  local key, cap = in_flight_key(account, tenant), limits_of(account, tenant).in_flight
  local room = cap and cap - redis.call('ZCOUNT', key, '(' .. stamp(now), '+inf') or math.huge
  local learnt = not tenant and tonumber(redis.call('HGET', account_key(account), 'learnt') or '')
  return learnt and math.min(room, learnt - awaited(account)) or room
end

-- Returns when the account's next purchase may begin; nothing: it has no ready job, or waits for a pause or a limit to end.
local function next_purchase_at(account)
  if paused(account) or room_in_flight(account) <= 0 then return end
  local first, rate = math.huge, rate_of(account)
  if redis.call('EXISTS', tenants_key(account)) == 1 then
    first = now
  else
    first = tonumber(redis.call('ZRANGE', rates_key(account), 0, 0, 'WITHSCORES')[2] or '')
  end
  if not first then return end
  circuits[account] = circuits[account] or breaker(account .. ':submit')
  local circuit = circuits[account]
  local trial_until = not circuit.is_closed and redis.call('HGET', breaker_key(account .. ':submit'), 'trial_until')
  return math.max(first, now + circuit.open_s, now + (rate and rate.wait_s(1) or 0), tonumber(trial_until or '') or 0)
end

local function arm_purchases(account, id)
  local at = next_purchase_at(account)
  if at then arm('queued', at, id or '-') end
end

-- Puts a tenant among those to be served, or takes it out: it stands there if and only if it has a ready job and no
-- pause, limit or rate of its own holds it back. `start`: where its next job starts; it has just been served.
local function refresh_tenant(account, tenant, start)
  local tenants, rates = tenants_key(account), rates_key(account)
  if redis.call('EXISTS', ready_key(account, tenant)) == 0 then
    redis.call('SREM', waiting_key(account), tenant)
    redis.call('ZREM', tenants, tenant)
    redis.call('ZREM', rates, tenant)
    return
  end
  if not start then redis.call('SADD', waiting_key(account), tenant) end
  if paused(account, 'tenant:' .. tenant) or room_in_flight(account, tenant) <= 0 then
    redis.call('ZREM', tenants, tenant)
    redis.call('ZREM', rates, tenant)
    return
  end
  local rate = rate_of(account, tenant)
  local wait = rate and rate.wait_s(1) or 0
  if wait > 0 then
    redis.call('ZREM', tenants, tenant)
    redis.call('ZADD', rates, stamp(now + wait), tenant)
  elseif start then
    redis.call('ZADD', tenants, start, tenant)
  else
    redis.call('ZREM', rates, tenant)
    if not redis.call('ZSCORE', tenants, tenant) then
      local virtual = tonumber(redis.call('HGET', account_key(account), 'virtual') or '') or 0
      local finish = tonumber(redis.call('ZSCORE', finish_key(account), tenant) or '') or 0
      redis.call('ZADD', tenants, string.format('%.6f', math.max(virtual, finish)), tenant)
    end
  end
end

-- To be called whenever what holds a tenant back may have begun or ended.
local function tenant_changed(account, tenant, id)
  refresh_tenant(account, tenant)
  arm_purchases(account, id)
end

-- Counts a job as running upstream, for ever or until a moment.
local function count_in_flight(id, row, until_at)
  local score = until_at and stamp(until_at) or '+inf'
  redis.call('ZADD', in_flight_key(row.account), score, id)
  redis.call('ZADD', in_flight_key(row.account, row.tenant), score, id)
end

local function count_no_more(id, row)
  if redis.call('ZREM', in_flight_key(row.account), id) == 0 then return end
  redis.call('ZREM', in_flight_key(row.account, row.tenant), id)
  if redis.call('EXISTS', ready_key(row.account, row.tenant)) == 1 then
    tenant_changed(row.account, row.tenant, id)
  elseif redis.call('EXISTS', tenants_key(row.account)) == 1 then
    arm_purchases(row.account, id)
  end
end

-- Puts a queued job into its tenant's line.
local function make_ready(id, row)
  redis.call('ZADD', due_key('queued'), row.deadline_at or stamp(now), id)
  local place = (tonumber(row.accepted_at) or now) + (FIRST_BY[row.priority] or 0)
  redis.call('ZADD', ready_key(row.account, row.tenant), stamp(place), id)
  -- Who left a tenant to be served has armed the wake-up.
  if not redis.call('ZSCORE', tenants_key(row.account), row.tenant) then tenant_changed(row.account, row.tenant, id) end
end

-- Takes a job out of its line, where it may not stand any more.
local function make_unready(id, row)
  redis.call('ZREM', parked_key(row.account, row.model or ''), id)
  local ready = ready_key(row.account, row.tenant)
  if redis.call('ZREM', ready, id) == 1 and redis.call('EXISTS', ready) == 0 then tenant_changed(row.account, row.tenant) end
end

-- Makes a queued job due in `due_in` seconds; 0 is at once. One that is to be cancelled does not wait for its turn.
local function enqueue(id, row, due_in)
  if due_in <= 0 and not row.cancel_requested_at then return make_ready(id, row) end
  redis.call('ZADD', due_key('queued'), stamp(now + due_in), id)
  arm('queued', now + due_in, id)
end

-- Sets and unsets limits; whom they held back is served at once.
local function change_limits(account, set, unset)
  local key, changed = a.prefix .. 'limits:' .. account, false
  for field, value in pairs(set or {}) do
    if redis.call('HGET', key, field) ~= value then
      redis.call('HSET', key, field, value)
      changed = true
    end
  end
  for _, field in ipairs(unset or {}) do changed = redis.call('HDEL', key, field) == 1 or changed end
  if not changed then return end
  known_limits = {}
  for _, tenant in ipairs(redis.call('SMEMBERS', waiting_key(account))) do tenant_changed(account, tenant) end
  arm_purchases(account)
end

-- Adds a job in a state, with its row {field: value} and request, due in `due_in` seconds.
local function insert(id, state, row, request, due_in, deadline_in, data)
  local fields = { 'id', id, 'state', state, 'turn', '1', 'accepted_at', stamp(now), 'deadline_at',
    stamp(now + deadline_in), 'due_at', stamp(now + due_in) }
  for name, value in pairs(row) do
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  redis.call('HSET', row_key(id), unpack(fields))
  redis.call('SET', request_key(id), request)
  index(id, state, row.tenant)
  emit(id, 'job.accepted', state, 1, data, row)
  local job = { account = row.account or 'default', tenant = row.tenant or '', priority = row.priority,
    accepted_at = now, deadline_at = stamp(now + deadline_in) }
  if state == 'queued' then return enqueue(id, job, due_in) end
  redis.call('ZADD', due_key(state), stamp(now + due_in), id)
  arm(state, now + due_in, id)
  if IN_FLIGHT[state] then count_in_flight(id, job) end
end
