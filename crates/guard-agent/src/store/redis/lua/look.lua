-- Renews the lease of a consumer, and looks at the others and at what all have.
-- KEYS: records, size, quarantine, the lease. ARGV: group, consumer, milliseconds, prefix of leases.
-- Returns whether the lease had held, how many records are quarantined, the consumers without a lease:
-- name, whether it ended by itself; and how many records there are, are pending for all consumers, and
-- for this one, and whether their size is known.
local records, size, quarantine, lease = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, consumer, prefix = ARGV[1], ARGV[2], ARGV[4]
-- Extending comes first: it is allowed without memory, and what follows it in a script then too.
local held = redis.call('PEXPIRE', lease, ARGV[3]) == 1 and text(lease) == 'alive'
if not held then
    redis.call('SET', lease, 'alive', 'PX', ARGV[3])
end
-- Says, as other commands do not, that the group is gone, with the stream or without it.
local pending = redis.call('XPENDING', records, group)[1]
local others, own = {}, 0
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', records, group)) do
    local other = {}
    for i = 1, #fields, 2 do
        other[fields[i]] = fields[i + 1]
    end
    if other.name == consumer then
        own = other.pending
    else
        local state = text(prefix .. other.name)
        if state ~= 'alive' then
            others[#others + 1] = { other.name, state and 1 or 0 }
        end
    end
end
local aside = redis.call('TYPE', quarantine).ok == 'stream' and redis.call('XLEN', quarantine) or 0
local sized = size_of(records, size) and 1 or 0
return { held and 1 or 0, aside, others, { redis.call('XLEN', records), pending, own, sized } }
