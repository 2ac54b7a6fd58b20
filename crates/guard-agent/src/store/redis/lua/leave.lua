-- A consumer ends: others may take its records at once; without records it is removed.
-- KEYS: records, the lease. ARGV: group, consumer, milliseconds.
local records, lease = KEYS[1], KEYS[2]
if #redis.call('XPENDING', records, ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', records, ARGV[1], ARGV[2])
    redis.call('DEL', lease)
else
    -- Allowed without memory, and what follows it in a script then too.
    redis.call('PEXPIRE', lease, ARGV[3])
    redis.call('SET', lease, 'ended', 'PX', ARGV[3])
end
