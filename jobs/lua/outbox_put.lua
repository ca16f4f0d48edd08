--[[ outbox_put: put the events of an ended job into receivers' outboxes, each once; a job's events wait in line.
     a: id, wanted {receiver: [names of events in their order]}, again? (also those delivered already, and at once)
     Returns the receivers that need a new slot: a busy slot looks again by itself, unless it may be busy for long. ]]
local life_ms = math.floor(a.retention_s * 1000)
local woken = {}

local function listed(list, name) return string.find(',' .. list .. ',', ',' .. name .. ',', 1, true) end
local function with(list, name) return list == '' and name or list .. ',' .. name end

local function must_wake(receiver)
  if redis.call('ZCOUNT', slots_key(receiver), stamp(now), '+inf') == 0 then return true end
  return tonumber(redis.call('HGET', health_key(receiver), 'took_s') or '0') > a.long_s
end

for receiver, events in pairs(a.wanted) do
  local key, came = delivery_key(receiver, a.id), false
  local pending, posted = unpack(redis.call('HMGET', key, 'pending', 'posted'))
  pending, posted = pending or '', posted or ''
  local waited = pending ~= ''
  for _, event in ipairs(events) do
    if (a.again or not listed(posted, event)) and not listed(pending, event) then
      pending, came = with(pending, event), true
      if not listed(posted, event) then posted = with(posted, event) end
    end
  end
  if came or (a.again and waited) then
    redis.call('HSET', key, 'pending', pending, 'posted', posted)
    redis.call('PEXPIRE', key, life_ms)
    -- A delivery under way keeps its lease; one that waits for its next try waits on, unless a person wants it now.
    if not redis.call('ZSCORE', slots_key(receiver), a.id) and (a.again or not waited) then
      redis.call('HSET', key, 'tries', 0)
      redis.call('ZADD', outbox_key(receiver), stamp(now), a.id)
      if must_wake(receiver) then woken[#woken + 1] = receiver end
    end
    note_next(receiver)
  end
end
return woken
