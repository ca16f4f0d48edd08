--[[ key_holder: the job that an idempotency key stands for.
     a: names [the key's name, then older versions'], tenant?
     Returns its id, or nothing. ]]
return (holder_of(a.names, a.tenant))
