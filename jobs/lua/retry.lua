--[[ retry: retry an ended job as a new one, once per ended job.
     a: id, of (the ended job), ended_as (its state), row {field: value}, state, due_in, deadline_in, data, input? (its name)
     Returns {'accepted', id, wake-ups} or {'replayed', id of the first retry}.
     Errors UNKNOWN_JOB (also: its request was erased), WRONG_STATE. ]]
local old = row_key(a.of)
local state, before = unpack(redis.call('HMGET', old, 'state', 'retried_as'))
local request = redis.call('GET', request_key(a.of))
if not state or not request then return redis.error_reply('UNKNOWN_JOB ' .. a.of) end
if before then return { 'replayed', before } end
if state ~= a.ended_as then return redis.error_reply('WRONG_STATE job is ' .. state) end

redis.call('HSET', old, 'retried_as', a.id)
a.row.retry_of = a.of
insert(a.id, a.state, a.row, request, a.due_in, a.deadline_in, a.data)
if a.input then
  local owner, rest = string.match(redis.call('HGET', inputs_key, a.input) or '', '^(%S+)( .*)$')
  if owner == a.of then redis.call('HSET', inputs_key, a.input, a.id .. rest) end
end
return { 'accepted', a.id, wake_ups() }
