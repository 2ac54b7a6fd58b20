-- Renews the lease of a consumer and looks at the others.
-- KEYS: records, quarantine, the lease. ARGV: group, consumer, milliseconds, prefix of leases.
-- Returns whether the lease had held, how many records are quarantined, and the consumers without a
-- lease: name, whether it ended by itself.
local records, quarantine, lease = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, prefix = ARGV[1], ARGV[2], ARGV[4]
-- Extending comes first: it is allowed without memory, and what follows it in a script then too.
local held = redis.call('PEXPIRE', lease, ARGV[3]) == 1 and redis.call('GET', lease) == 'alive'
if not held then
    redis.call('SET', lease, 'alive', 'PX', ARGV[3])
end
local others = {}
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', records, group)) do
    local other = {}
    for i = 1, #fields, 2 do
        other[fields[i]] = fields[i + 1]
    end
    local state = redis.call('GET', prefix .. other.name)
    if other.name ~= consumer and state ~= 'alive' then
        others[#others + 1] = { other.name, state and 1 or 0 }
    end
end
return { held and 1 or 0, redis.call('XLEN', quarantine), others }
