--[[ key_holder: find the job of an idempotency key.
     a: names [the key's name, then older versions'], tenant?
     Returns its id, or nothing. ]]
return (holder_of(a.names, a.tenant))
