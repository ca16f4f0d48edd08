--[[ limit: take one token from a bucket of the fleet's.
     a: name, every_s (one comes back), burst (are saved up at most)
     Returns milliseconds to wait; 0: it is taken. ]]
local rate = bucket(a.name, a.burst, a.every_s)
local wait = rate.wait_s(1)
if wait == 0 then rate.take(1) end
return math.ceil(wait * 1000)
