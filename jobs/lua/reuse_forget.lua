--[[ reuse_forget: have a job's video found no more; another's that took its place stays.
     a: id, digest     Returns 1 if it was forgotten, else 0. ]]
local pointer = a.prefix .. 'reuse:' .. a.digest
if redis.call('GET', pointer) ~= a.id then return 0 end
return redis.call('DEL', pointer)
