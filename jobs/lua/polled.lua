--[[ polled: write down many polls that found nothing new; each is due again, and keeps its turn's guard.
     a: slot_s, polls [[id, turn, due_in, data, pending (it was seen to be still under way),
                        evidence (what an inconclusive reply showed, or ""), how many times in a row], ...],
        first_edge_s, buckets_per_octave, buckets (how times are told apart), pending_life_ms
     Returns [new turn, alarm, ...] flat, two for each poll: the turn is 0 if the job has moved on meanwhile; the alarm
     is the seconds until its reminder must ring, or nil if the alarm of its slot is set already. ]]
local function bucket_of(seconds)
  local octaves = math.log(math.max(seconds, a.first_edge_s) / a.first_edge_s) / math.log(2)
  return tostring(math.min(math.floor(octaves * a.buckets_per_octave), a.buckets - 1))
end

local answers = {}
for _, seen in ipairs(a.polls) do
  local id, held_turn, due_in, data, pending, evidence, evidence_polls = unpack(seen)
  local row = row_key(id)
  local state, turn, kind, begun, reached, held_evidence = unpack(redis.call('HMGET', row, 'state', 'turn', 'kind',
    'submitted_at', 'reached', 'evidence'))
  local new_turn, alarm = 0, false
  if state == 'rendering' and tonumber(turn) == held_turn then
    new_turn = held_turn + 1
    local due = now + due_in
    redis.call('HSET', row, 'turn', new_turn, 'due_at', stamp(due))
    redis.call('HINCRBY', row, 'polls', 1)
    if pending then
      redis.call('HSET', row, 'pending_at', stamp(now))
      if kind and begun then count_pending(row, kind, reached, bucket_of(now - tonumber(begun))) end
    end
    if evidence ~= '' then
      redis.call('HSET', row, 'evidence', evidence, 'evidence_polls', evidence_polls)
    elseif held_evidence then
      redis.call('HDEL', row, 'evidence', 'evidence_polls')
    end
    redis.call('ZADD', due_key('rendering'), stamp(due), id)
    emit(id, 'job.polled', 'rendering', new_turn, data)
    alarm = alarm_to_set('rendering', due)
  end
  answers[#answers + 1] = new_turn
  answers[#answers + 1] = alarm
end
return answers
