-- Says where records are that a consumer knows: 1 for those that are pending for it, 2 for those that are
-- pending for another, 0 for those that are gone. What is pending for nobody is made pending for it.
-- KEYS: records. ARGV: group, consumer, then ids.
local records, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local places = {}
for i = 3, #ARGV do
    local id, place = ARGV[i], 1
    local pending = redis.call('XPENDING', records, group, id, id, 1)[1]
    if #redis.call('XRANGE', records, id, id) == 0 then
        redis.call('XACK', records, group, id)
        place = 0
    elseif not pending then
        redis.call('XCLAIM', records, group, consumer, 0, id, 'FORCE', 'JUSTID')
    elseif pending[2] ~= consumer then
        place = 2
    end
    places[#places + 1] = place
end
return places
