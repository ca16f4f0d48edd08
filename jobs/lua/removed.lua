--[[ removed: record that an ended job's files leave the archive. A row that still exists gets the time, once, and its
     log the event; the event stream gets it either way, as a video outlives its row.
     a: id, ended (how the job ended, for a row that is gone), data
     Returns {turn, 1 if it was written, else 0, wake-ups}.     Errors WRONG_STATE (the job is under way). ]]
local row = row_key(a.id)
local state, turn, finished_at, tenant, webhook_receiver = unpack(
  redis.call('HMGET', row, 'state', 'turn', 'finished_at', 'tenant', 'webhook_receiver'))
if not state then
  redis.call('XADD', stream_key, 'MAXLEN', '~', a.stream_cap, '*',
    'job', a.id, 'event', 'job.pruned', 'state', a.ended, 'turn', 0, 'at', stamp(now), 'data', a.data)
  return { 0, 1, {} }
end
if not finished_at then return redis.error_reply('WRONG_STATE job is ' .. state) end
if redis.call('HSETNX', row, 'removed_at', stamp(now)) == 0 then return { tonumber(turn), 0, {} } end
emit(a.id, 'job.pruned', state, turn, a.data, { tenant = tenant, webhook_receiver = webhook_receiver })
return { tonumber(turn), 1, wake_ups() }
