--[[ claim_purchases: take the jobs to be bought next, each with a new turn and on a lease.
     First, queued jobs that are due become ready; one that was cancelled, or whose deadline has passed, is taken at once,
     to be ended, and one whose worker died has a new turn and is ready again. Then tenants are served by turns, while the
     limits allow. While the circuit breaker is half-open, one job is taken as the trial.
     a: account, limit, lease_s, early_s, woke?, rang?, share? (as for claim), trial_s?,
        limits? {field: value} (the settings', which hold where no other was set)
     Returns {now, items [{id, row (HGETALL), {}, request or ''}], 1 if more can be taken, wake-ups, 1 if it is a trial}. ]]
local MOST_DUE = 200 -- in one claim
local SOON_S = 60 -- the rescuer finds what is due later
local due, account, items = due_key('queued'), a.account, {}
answer_wake_up('queued')
change_limits(account, a.limits)

-- Takes a job whose row is known.
local function take(id, flat)
  flat[#flat + 1] = 'turn'
  flat[#flat + 1] = tostring(redis.call('HINCRBY', row_key(id), 'turn', 1))
  redis.call('ZADD', due, stamp(now + a.lease_s), id)
  items[#items + 1] = { id, flat, {}, redis.call('GET', request_key(id)) or '' }
end

-- Makes a due job ready, or takes it if it is to end. Returns whether it was done.
local function due_job(id)
  local row = admission_fields(id)
  if row.state ~= 'queued' then -- no hash, gone, or in a state of a newer version
    if redis.call('EXISTS', row_key(id)) == 0 then return redis.call('ZREM', due, id) end
    redis.call('ZADD', due, stamp(now + a.lease_s), id)
    items[#items + 1] = { id, { 'id', id }, {}, '' }
  elseif row.cancel_requested_at or (tonumber(row.deadline_at) or 0) <= now then
    if #items >= a.limit then return false end
    make_unready(id, row)
    take(id, redis.call('HGETALL', row_key(id)))
  else
    if redis.call('ZSCORE', in_flight_key(row.account), id) then
      redis.call('HINCRBY', row_key(id), 'turn', 1)
      count_no_more(id, row)
    end
    make_ready(id, row)
  end
  return true
end

-- What is due next is the end of a hold or of a lease, or the time from which a job may be bought; those that are taken
-- below are renewed.
local next_due = redis.call('ZRANGE', due, '(' .. stamp(now + a.early_s), stamp(now + SOON_S), 'BYSCORE', 'LIMIT', 0, 1,
  'WITHSCORES')

local left = false
local found = redis.call('ZRANGE', due, '-inf', stamp(now + a.early_s), 'BYSCORE', 'LIMIT', 0, MOST_DUE)
for at, id in ipairs(found) do
  local worked, done = pcall(due_job, id)
  if not worked then -- one unreadable row must not keep the others from being claimed
    redis.call('ZADD', due, stamp(now + a.lease_s), id)
    items[#items + 1] = { id, { 'id', id }, {}, '' }
  end
  left = left or done == false or at == MOST_DUE
end

-- What held tenants back may be over: their rate, or generations of ended jobs, which count no more once they must be done.
for _, tenant in ipairs(redis.call('ZRANGE', rates_key(account), '-inf', stamp(now), 'BYSCORE', 'LIMIT', 0, MOST_DUE)) do
  tenant_changed(account, tenant)
end
for _, id in ipairs(redis.call('ZRANGE', in_flight_key(account), '-inf', stamp(now), 'BYSCORE', 'LIMIT', 0, MOST_DUE)) do
  count_no_more(id, admission_fields(id))
end

local virtual

-- Serves the next tenant. Returns false if none can be served.
local function serve()
  local tenant, start = unpack(redis.call('ZRANGE', tenants_key(account), 0, 0, 'WITHSCORES'))
  if not tenant then return false end
  local id = redis.call('ZRANGE', ready_key(account, tenant), 0, 0)[1]
  if not id then
    refresh_tenant(account, tenant)
    return true
  end
  redis.call('ZREM', ready_key(account, tenant), id)
  local flat, row = redis.pcall('HGETALL', row_key(id)), {}
  for at = 1, #flat, 2 do row[flat[at]] = flat[at + 1] end
  row.account, row.tenant = account, tenant
  if row.state ~= 'queued' then
    -- Its row is gone, or a newer version's.
    if redis.call('EXISTS', row_key(id)) == 0 then redis.call('ZREM', due, id) end
  elseif paused(account, 'model:' .. (row.model or '')) then
    redis.call('ZADD', parked_key(account, row.model), 0, id)
  else
    virtual, start = start, string.format('%.6f', start + 1 / limits_of(account, tenant).weight)
    redis.call('ZADD', finish_key(account), start, tenant)
    local rate, own = rate_of(account), rate_of(account, tenant)
    if rate then rate.take(1) end
    if own then own.take(1) end
    count_in_flight(id, row)
    take(id, flat)
  end
  refresh_tenant(account, tenant, start)
  return true
end

-- Each thread takes its part of what is ready.
local function part()
  local ready = 0
  for _, tenant in ipairs(redis.call('ZRANGE', tenants_key(account), 0, 15)) do
    ready = ready + redis.call('ZCARD', ready_key(account, tenant))
  end
  return math.max(1, math.ceil(ready / (a.share or 1)))
end

local circuit = breaker(account .. ':submit')
local is_trial, ending, tries, room = not circuit.is_closed, #items, 0, 0
if (next_purchase_at(account) or math.huge) <= now then
  local rate = rate_of(account)
  room = math.min(a.limit - ending, is_trial and 1 or part(), room_in_flight(account), rate and rate.left() or math.huge)
end
while #items < ending + room and tries < MOST_DUE and serve() do tries = tries + 1 end
redis.call('HSET', account_key(account), 'looked_at', stamp(now))
if virtual then
  redis.call('HSET', account_key(account), 'virtual', virtual)
  redis.call('ZREMRANGEBYSCORE', finish_key(account), '-inf', '(' .. virtual)
end
is_trial = is_trial and #items > ending
if is_trial then redis.call('HSET', breaker_key(account .. ':submit'), 'trial_until', stamp(now + (a.trial_s or a.lease_s))) end

local at = next_purchase_at(account)
left = left or (at and at <= now)
if left then
  local tenant = redis.call('ZRANGE', tenants_key(account), 0, 0)[1]
  arm('queued', now, tenant and redis.call('ZRANGE', ready_key(account, tenant), 0, 0)[1])
else
  if at then arm('queued', at) end
  if next_due[1] then arm('queued', tonumber(next_due[2]), next_due[1]) end
  if room_in_flight(account) <= 0 then -- a generation of a job that has ended may count no more by then
    local id, over_at = unpack(redis.call('ZRANGE', in_flight_key(account), '(' .. stamp(now), stamp(now + SOON_S),
      'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES'))
    if id then arm('queued', tonumber(over_at), id) end
  end
end
return { stamp(now), items, left and 1 or 0, wake_ups(), is_trial and 1 or 0 }
