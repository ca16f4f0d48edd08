--[[ errand: take or settle one round of work that an ended job still needs (its hooks told, its late video fetched).
     An errand has a turn and a due time of its own, so that it can be lost, late or doubled like any other reminder.
     Taking a round (a.lease_s) makes a doubled message stale; settling it ends the errand, or plans its next round.
     a: id, errand, errand_turn, lease_s? | (set {field: value}, bump [fields], next_in?, start {errand: due_in},
        event, data)
     Returns the errand's new turn.     Errors UNKNOWN_JOB, STALE_TURN. ]]
local row = row_key(a.id)
local state, turn, held = unpack(redis.call('HMGET', row, 'state', 'turn', a.errand .. '_turn'))
if not state then return redis.error_reply('UNKNOWN_JOB ' .. a.id) end
if tonumber(held or '0') ~= a.errand_turn or not redis.call('ZSCORE', errand_key(a.errand), a.id) then
  return redis.error_reply('STALE_TURN ' .. a.errand .. ' is at ' .. tostring(held))
end
local next_turn = a.errand_turn + 1
redis.call('HSET', row, a.errand .. '_turn', next_turn)
if a.lease_s then
  redis.call('ZADD', errand_key(a.errand), stamp(now + a.lease_s), a.id)
  return next_turn
end
redis.call('HSET', row, 'rescues', 0)
for name, value in pairs(a.set) do redis.call('HSET', row, name, value) end
for _, name in ipairs(a.bump) do redis.call('HINCRBY', row, name, 1) end
if a.next_in then
  redis.call('ZADD', errand_key(a.errand), stamp(now + a.next_in), a.id)
else
  redis.call('ZREM', errand_key(a.errand), a.id)
end
tell(a.id, a.event, state, turn, a.data)
start_errands(a.id, a.start)
return next_turn
