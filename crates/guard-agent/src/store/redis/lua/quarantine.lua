-- Moves a record to the quarantine, which keeps the newest. Returns how many there are.
-- KEYS: records, size, quarantine, count. ARGV: group, overhead, id, kind, JSON, reason, how many to keep.
local records, size, quarantine, count = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
-- Acknowledging comes first: it is allowed without memory, and what follows it in a script then too.
redis.call('XACK', records, ARGV[1], ARGV[3])
if redis.call('TYPE', quarantine).ok ~= 'stream' then
    redis.call('DEL', quarantine)
end
redis.call('XADD', quarantine, 'MAXLEN', ARGV[7], '*', ARGV[4], ARGV[5], 'reason', ARGV[6])
if redis.call('XDEL', records, ARGV[3]) == 1 then
    uncount(size, count, { { ARGV[3], #ARGV[5] + ARGV[2] } })
end
if redis.call('XLEN', records) == 0 then
    redis.call('DEL', size)
end
return redis.call('XLEN', quarantine)
