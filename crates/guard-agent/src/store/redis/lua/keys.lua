-- What all scripts start with: keys that others may have changed.

-- The text under a key, if there is any. What is of another type is not the agents', and goes.
local function text(key)
    local found = redis.call('TYPE', key).ok
    if found == 'string' then
        return redis.call('GET', key)
    end
    if found ~= 'none' then
        redis.call('DEL', key)
    end
    return false
end

-- The bytes of all records; nothing when they have to be counted.
local function size_of(records, size)
    if redis.call('XLEN', records) == 0 then
        redis.call('DEL', size)
        return 0
    end
    local known = text(size)
    return known and known:match('^%d+$') and tonumber(known)
end

-- Whether a record comes at or before another in the stream.
local function is_up_to(id, last)
    local milliseconds, number = id:match('(%d+)-(%d+)')
    local last_milliseconds, last_number = last:match('(%d+)-(%d+)')
    if milliseconds ~= last_milliseconds then
        return tonumber(milliseconds) < tonumber(last_milliseconds)
    end
    return tonumber(number) <= tonumber(last_number)
end

-- A count that is under way: the last record that is in it, their bytes, who counts. See count.lua.
local function counted(count)
    return (text(count) or ''):match('^(%d+-%d+) (%d+) (%S+)$')
end

local function keep_count(count, last, bytes, owner, milliseconds)
    redis.call('SET', count, last .. ' ' .. string.format('%.0f', bytes) .. ' ' .. owner, 'PX', milliseconds)
end

-- Takes records that were removed out of the size, and out of a count that has passed them.
-- Each is an id and its bytes.
local function uncount(size, count, removed)
    local last, bytes, owner = counted(count)
    local freed, passed = 0, 0
    for _, record in ipairs(removed) do
        freed = freed + record[2]
        if last and is_up_to(record[1], last) then
            passed = passed + record[2]
        end
    end
    if passed > 0 then
        keep_count(count, last, bytes - passed, owner, math.max(redis.call('PTTL', count), 1))
    end
    if freed > 0 and (text(size) or ''):match('^%d+$') then
        redis.call('DECRBY', size, freed)
    end
end
