-- Adds records and makes them pending for the consumer that adds them.
-- KEYS: records, size. ARGV: group, consumer, limit, overhead, then kind and JSON of each record.
-- Returns the ids, none when the limit leaves no room; how many bytes are taken, and were asked for.
local records, size = KEYS[1], KEYS[2]
-- Fails without the group, before anything is written.
redis.call('XPENDING', records, ARGV[1])
local asked = 0
for i = 5, #ARGV, 2 do
    asked = asked + #ARGV[i + 1] + ARGV[4]
end
local known = size_of(records, size)
local taken = known or 0
if taken + asked > tonumber(ARGV[3]) then
    return { {}, taken, asked }
end
local ids = {}
for i = 5, #ARGV, 2 do
    ids[#ids + 1] = redis.call('XADD', records, '*', ARGV[i], ARGV[i + 1])
end
-- In parts: Lua unpacks a few thousand values at most.
for first = 1, #ids, 1000 do
    local last = math.min(first + 999, #ids)
    local claim = { unpack(ids, first, last) }
    for _, word in ipairs({ 'FORCE', 'JUSTID', 'LASTID', ids[last] }) do
        claim[#claim + 1] = word
    end
    redis.call('XCLAIM', records, ARGV[1], ARGV[2], 0, unpack(claim))
end
-- What is not known is counted, with these records.
if known then
    redis.call('INCRBY', size, asked)
end
return { ids, taken, asked }
