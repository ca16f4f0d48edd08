--[[ retry: retry an ended job as a new one, once per ended job.
     a: id, of (the ended job), ended_as (its state), row {field: value}, state, due_in, deadline_in, slot_s, data
     Returns {'accepted', id, alarm} (as accept does) or {'replayed', id of the first retry}.
     Errors UNKNOWN_JOB (also: its request was erased), WRONG_STATE. ]]
local old = row_key(a.of)
local state, before = unpack(redis.call('HMGET', old, 'state', 'retried_as'))
local request = redis.call('GET', request_key(a.of))
if not state or not request then return redis.error_reply('UNKNOWN_JOB ' .. a.of) end
if before then return { 'replayed', before } end
if state ~= a.ended_as then return redis.error_reply('WRONG_STATE job is ' .. state) end

redis.call('HSET', old, 'retried_as', a.id)
local fields = {
  'id', a.id, 'state', a.state, 'turn', '1', 'accepted_at', stamp(now), 'deadline_at', stamp(now + a.deadline_in),
  'due_at', stamp(now + a.due_in), 'retry_of', a.of,
}
for name, value in pairs(a.row) do
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
redis.call('HSET', row_key(a.id), unpack(fields))
redis.call('SET', request_key(a.id), request)
redis.call('ZADD', due_key(a.state), stamp(now + a.due_in), a.id)
index(a.id, a.state, a.row.tenant)
emit(a.id, 'job.accepted', a.state, 1, a.data)
return { 'accepted', a.id, alarm_to_set(a.state, now + a.due_in) }
