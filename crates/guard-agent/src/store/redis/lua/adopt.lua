-- Claims the oldest records of a consumer that has no lease; one that is left without records is removed.
-- KEYS: records, its lease. ARGV: group, consumer, the other, how many.
-- Returns id, kind and length of each record.
local records, lease = KEYS[1], KEYS[2]
local group, consumer, other = ARGV[1], ARGV[2], ARGV[3]
if text(lease) == 'alive' then
    return {}
end
local pending = redis.call('XPENDING', records, group, '-', '+', ARGV[4], other)
local ids = {}
for i, entry in ipairs(pending) do
    ids[i] = entry[1]
end
local claimed = {}
local entries = #ids > 0 and redis.call('XCLAIM', records, group, consumer, 0, unpack(ids)) or {}
for _, entry in ipairs(entries) do
    -- Before version 7 Redis tells a record that was deleted as nothing.
    if entry then
        claimed[#claimed + 1] = { entry[1], entry[2][1], #entry[2][2] }
    end
end
if #ids < tonumber(ARGV[4]) then
    redis.call('XGROUP', 'DELCONSUMER', records, group, other)
    redis.call('DEL', lease)
end
return claimed
