"""The key space of Rushes in Redis, drawn once.

    rushes:job:<id>           hash    the row                              lives until the end + retention
    rushes:request:<id>       string  the request, as JSON                 with the row
    rushes:log:<id>           list    every edge and poll, capped          with the row
    rushes:events             stream  the events of all jobs, capped         permanent
    rushes:rate:<name>        string  when a rate limit's bucket is full again (jobs/limits.py)    until then
    rushes:breaker:<name>     hash    a circuit breaker: open until when, and why  while it matters (jobs/breakers.py)
    rushes:account:<account>  hash    its pauses (jobs/pauses.py), virtual time, learnt limit    permanent
    rushes:limits:<account>   hash    limits that were set, and those of the settings            permanent
    rushes:writable           string  whether Redis takes a write          a second
    rushes:retired            zset    ended job -> when its index entries go                     permanent
    rushes:index:<state>|all  zset    job ids in order of acceptance (score 0, ids sort by time) permanent
    rushes:index:tenant:<t>   zset    the same, of one tenant's jobs       permanent
    rushes:index:tallies      hash    "<state> <tenant>" -> how many jobs  permanent
    rushes:access:key:<id>    hash    an API key: tenant, scopes, digest   until a month past its end, if it has one
    rushes:access:keys        set     the ids of all API keys              permanent
    rushes:access:links       string  the secret that signs links          permanent
    rushes:session:<digest>   string  a session of the page                12 hours (producer/sessions.py)
    rushes:workers            zset    "<worker> <version>" -> when it was last seen              a day after that
    rushes:late:<worker>      string  the most seconds by which its polls were late        a minute after the last
    rushes:clock              hash    the latest time seen, and when it was set back             a week (jobs/clock.py)
    rushes:durations:<kind>   list    how long the newest jobs of a kind took            90 days (jobs/durations.py)
    rushes:idempotency:<name> string  job id and fingerprint (jobs/idempotency.py)  idempotency life
    rushes:webhooks           hash    webhook endpoint -> what it wants, as JSON; no secret      permanent
    rushes:celery:*           Celery's queues and bindings                 Celery's own

Who is bought next is drawn in `jobs/lua/admission.lua`.

Work items and wake-ups are drawn in `jobs/work_items.py`, receivers and their outboxes in `jobs/outbox.py`, inputs in
`jobs/inputs.py`, the index of videos that may be handed out again in `producer/reuse.py`.

Only the modules of `jobs` write a job's keys, its row only by the scripts in `jobs/lua`; API keys, sessions and webhook
endpoints have a module each (`producer/keys.py`, `producer/sessions.py`, `config/webhook_endpoints.py`).
"""

from typing import Final

PREFIX: Final = "rushes:"
PERMANENT_KEYS: Final = (
    "rushes:due:",
    "rushes:wakes",
    "rushes:turns",
    "rushes:receivers:",
    "rushes:delivering",
    "rushes:events",
    "rushes:retired",
    "rushes:index:",
    "rushes:access:",
    "rushes:account:",
    "rushes:limits:",
    "rushes:ready:",
    "rushes:waiting:",
    "rushes:tenants:",
    "rushes:finish:",
    "rushes:rates:",
    "rushes:parked:",
    "rushes:in_flight:",
    "rushes:inputs",
    "rushes:webhooks",
    "rushes:celery:",
)
"""Keys, or their prefixes, without a TTL; each has a bounded entry per job within the job's life."""
