--[[ announce: take or settle one round of telling the result hooks that a job has ended.
     Taking a round (a.lease_s) makes a doubled message stale; settling it records who was told, and either ends the
     telling (no a.next_in) or plans the next round.
     a: id, announce_turn, lease_s? | (announced "name,name", next_in?, event, data)
     Returns the new announce turn.     Errors UNKNOWN_JOB, STALE_TURN. ]]
local row = row_key(a.id)
local state, turn, held = unpack(redis.call('HMGET', row, 'state', 'turn', 'announce_turn'))
if not state then return redis.error_reply('UNKNOWN_JOB ' .. a.id) end
if tonumber(held or '0') ~= a.announce_turn or not redis.call('ZSCORE', announcing_key, a.id) then
  return redis.error_reply('STALE_TURN announcing is at ' .. tostring(held))
end
local next_turn = a.announce_turn + 1
redis.call('HSET', row, 'announce_turn', next_turn)
if a.lease_s then
  redis.call('ZADD', announcing_key, stamp(now + a.lease_s), a.id)
  return next_turn
end
redis.call('HSET', row, 'announced', a.announced, 'rescues', 0)
if a.next_in then
  redis.call('HINCRBY', row, 'announce_failures', 1)
  redis.call('ZADD', announcing_key, stamp(now + a.next_in), a.id)
else
  redis.call('ZREM', announcing_key, a.id)
end
tell(a.id, a.event, state, turn, a.data)
return next_turn
