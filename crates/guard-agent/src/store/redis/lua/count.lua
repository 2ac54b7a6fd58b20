-- Counts the bytes of some records, from where the last call ended, and sets the size at the end of the
-- stream. Claims those that are pending for nobody, if it is to.
-- KEYS: records, size, count. ARGV: group, consumer, milliseconds, overhead, how many, whether it starts,
-- whether it claims.
-- Returns whether there are more; id, kind and length of each record that it claimed; how many entries are
-- no records. Nothing when another consumer counts.
local records, size, count = KEYS[1], KEYS[2], KEYS[3]
local group, consumer = ARGV[1], ARGV[2]
-- Extending comes first: it is allowed without memory, and what follows it in a script then too.
redis.call('PEXPIRE', count, ARGV[3])
local last, sum, owner = counted(count)
local starts = ARGV[6] == '1'
-- Another one counts; or this one took too long, and starts again.
if owner and owner ~= consumer or not owner and not starts then
    return false
end
local bytes, from = 0, '-'
if not starts then
    bytes = tonumber(sum)
    -- The one right after it. Before version 6.2 there is no other way to say so.
    local milliseconds, number = last:match('(%d+)-(%d+)')
    from = milliseconds .. '-' .. string.format('%.0f', number + 1)
end
local entries = redis.call('XRANGE', records, from, '+', 'COUNT', ARGV[5])
local is_pending = {}
if #entries > 0 then
    local first, final = entries[1][1], entries[#entries][1]
    repeat
        local pending = redis.call('XPENDING', records, group, first, final, 1000)
        for _, entry in ipairs(pending) do
            is_pending[entry[1]] = true
            first = entry[1]
        end
    until #pending < 1000
end
local claimed, strange = {}, 0
for _, entry in ipairs(entries) do
    local id, kind, json = entry[1], entry[2][1], entry[2][2]
    local is_record = #entry[2] == 2 and (kind == 'event' or kind == 'metric')
    if is_record then
        bytes = bytes + #json + ARGV[4]
    end
    if is_record and ARGV[7] == '1' and not is_pending[id] then
        redis.call('XCLAIM', records, group, consumer, 0, id, 'FORCE', 'JUSTID')
        claimed[#claimed + 1] = { id, kind, #json }
    elseif not is_record and not is_pending[id] then
        strange = strange + 1
    end
end
local more = #entries == tonumber(ARGV[5])
if more then
    keep_count(count, entries[#entries][1], bytes, consumer, ARGV[3])
else
    redis.call('DEL', count)
    redis.call('SET', size, string.format('%.0f', bytes))
    size_of(records, size)
end
return { more and 1 or 0, claimed, strange }
