--[[ limits: change an account's limits, for the whole fleet and at once.
     a: account, set? {field: value}, unset? [fields], is_learnt_forgotten?     Returns {wake-ups}. ]]
if a.is_learnt_forgotten then redis.call('HDEL', account_key(a.account), 'learnt') end
change_limits(a.account, a.set, a.unset)
arm_purchases(a.account)
return { wake_ups() }
