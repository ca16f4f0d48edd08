--[[ bought_twice: keep another purchase of a job as a job of its own, which goes on with it; once per generation.
     a: id (the new job's), of, generation_id, row {field: value}, request (if the job's own is erased), deadline_in, data,
        accepted (the data of the new job's first event)
     Returns {'accepted', id, turn of the old job, wake-ups} or {'replayed', id}.     Errors UNKNOWN_JOB. ]]
local row = {}
row.state, row.turn, row.tenant, row.webhook_receiver, row.other_purchases = unpack(redis.call('HMGET', row_key(a.of),
  'state', 'turn', 'tenant', 'webhook_receiver', 'other_purchases'))
if not row.state then return redis.error_reply('UNKNOWN_JOB ' .. a.of) end
for generation_id, id in string.gmatch(row.other_purchases or '', '(%S+) (%S+)') do
  if generation_id == a.generation_id then return { 'replayed', id } end
end
local known = row.other_purchases or ''
redis.call('HSET', row_key(a.of), 'other_purchases', known .. a.generation_id .. ' ' .. a.id .. '\n')
a.row.retry_of = a.of
insert(a.id, 'rendering', a.row, redis.call('GET', request_key(a.of)) or a.request, 0, a.deadline_in, a.accepted)
emit(a.of, 'job.bought_twice', row.state, row.turn, a.data, row)
return { 'accepted', a.id, tonumber(row.turn), wake_ups() }
