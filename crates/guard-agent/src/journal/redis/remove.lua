-- Removes records, whoever has them. What is gone already is left out.
-- KEYS: records, size. ARGV: group, overhead, then ids.
local records, size = KEYS[1], KEYS[2]
local freed = 0
for i = 3, #ARGV do
    local id = ARGV[i]
    local found = redis.call('XRANGE', records, id, id)[1]
    redis.call('XACK', records, ARGV[1], id)
    if found then
        redis.call('XDEL', records, id)
        freed = freed + #found[2][2] + ARGV[2]
    end
end
-- Above, something was written: from here on Redis lets a script finish even without memory.
if redis.call('XLEN', records) == 0 then
    redis.call('DEL', size)
elseif freed > 0 then
    redis.call('DECRBY', size, freed)
end
