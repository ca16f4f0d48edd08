--[[ take: claim the due work of one kind for a task; the job in the task's message does not matter.
     The claim moves a job's due time by a lease: if the worker dies, it is due again. Its turn stays, and guards what
     the worker writes. A task that has just woken (a.woke) removes the alarms that have rung; one that goes on leaves them.
     a: work (a state or a follow-up), turn_field, woke?, limit, lease_s,
        early_s, per_s? (the fleet claims no more; at most a second's worth is saved up)
     Returns {now, rows [HGETALL of each], 1 if something due was not claimed, else 0, more}; more: {id, turn, wait_s}
     of such a job, if no message for it is under way yet. ]]
local due = due_key(a.work)
local until_now = stamp(now + a.early_s)
if a.woke then forget_alarms(a.work, until_now) end

local rate = a.per_s and bucket(a.work, a.per_s, 1 / a.per_s)
local room = rate and math.min(a.limit, rate.left()) or a.limit
local found = redis.call('ZRANGE', due, '-inf', until_now, 'BYSCORE', 'LIMIT', 0, room + 1)
local rows = {}
for index = 1, math.min(#found, room) do
  local row = redis.pcall('HGETALL', row_key(found[index]))
  if row.err then row = { 'id', found[index] } end -- no hash: the worker reports it
  if #row == 0 then
    redis.call('ZREM', due, found[index])
  else
    redis.call('ZADD', due, stamp(now + a.lease_s), found[index])
    rows[#rows + 1] = row
  end
end
if rate and #rows > 0 then rate.take(#rows) end
local left = found[room + 1]
if not left or not call_to_ring(a.work) then return { stamp(now), rows, left and 1 or 0 } end
local wait_s = room < a.limit and 1 / a.per_s or 0
local turn = unpack(fields_of(left, a.turn_field))
return { stamp(now), rows, 1, { left, tonumber(turn) or 0, tostring(wait_s) } }
