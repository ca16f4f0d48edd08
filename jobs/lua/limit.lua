--[[ limit: take one token from a bucket of the fleet's.
     a: name, every_s (until one comes back), burst (tokens saved up at most)
     Returns milliseconds to wait; 0: the token is taken. ]]
local rate = bucket(a.name, a.burst, a.every_s)
local wait = rate.wait_s(1)
if wait == 0 then rate.take(1) end
return math.ceil(wait * 1000)
