-- Removes records, whoever has them. What is gone already is left out.
-- KEYS: records, size, count. ARGV: group, overhead, then ids.
local records, size, count = KEYS[1], KEYS[2], KEYS[3]
local removed = {}
for i = 3, #ARGV do
    local id = ARGV[i]
    local found = redis.call('XRANGE', records, id, id)[1]
    redis.call('XACK', records, ARGV[1], id)
    if found then
        redis.call('XDEL', records, id)
        removed[#removed + 1] = { id, #found[2][2] + ARGV[2] }
    end
end
-- Above, something was written: from here on Redis lets a script finish even without memory.
uncount(size, count, removed)
if redis.call('XLEN', records) == 0 then
    redis.call('DEL', size)
end
