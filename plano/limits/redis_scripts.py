"""The Lua that counts inside Redis, so that a decision over any number of cells is one round trip and no other comes
between.

The layout of the keys:

    plano:{limits}:count:<key>  Rate   string  "used at": the amount that was used, and the time of that
                                Lease  zset    holder -> Unix seconds at which its place is free again
                                Sum    hash    s<slice> -> what was spent in a part of a rolling period, or s0
                                               r<hour>, n<hour> -> what was reserved in that hour, and by how many
    plano:{limits}:told:<name>         zset    the marks of the last settlements that one process told

All keys have one hash tag, so in a cluster one node keeps them. A decision has cells of several subjects (a tenant, a
header's value, an entry), and each of them also meets others in other decisions. So no smaller tag holds all cells of
every decision, and cells in two slots cannot be taken together: one would have to be given back where the other is
refused, and other requests would be refused meanwhile. Counts are small, and one node decides tens of thousands of
times a second.

Each script begins with a command that changes nothing and writes, because a demoted primary answers reads: it would
refuse, or admit, by counts that are no longer true.

Redis drops each key when nothing would be lost without it. A reservation that nobody settles, because its process was
killed, counts until the end of the next hour.
"""

from __future__ import annotations

from plano.redis_client import Script

TAG = "plano:{limits}:"
COUNTS = f"{TAG}count:"
MARKS = f"{TAG}told:"
NOTHING = f"{TAG}nothing"
"""A key that is never there. The first of every script."""

SLICES = 60
"""The parts in which a rolling period moves on, as in `plano.limits.budgets`."""

# KEYS[1]: nothing. ARGV[1]: a list in MessagePack, because one argument costs the client less than many. It begins with
# Unix seconds, or nil for the server's own time.
_BEGIN = """
redis.call('DEL', KEYS[1])
local said = cmsgpack.unpack(ARGV[1])
local now = said[1]
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
local function expire(key, seconds)
  redis.call('PEXPIRE', key, math.ceil(math.max(seconds, 0) * 1000) + 10000)
end
"""

_RATE = """
local function used_of(key, limit, period)
  local text = redis.call('GET', key)
  if not text then return 0 end
  local used, at = string.match(text, '(%S+) (%S+)')
  return math.max(0, used - math.max(0, now - at) * limit / period)
end
local function use(key, limit, period, used)
  if used <= 0 then redis.call('DEL', key) return end
  redis.call('SET', key, string.format('%.17g %.17g', used, now))
  expire(key, used * period / limit)
end
"""

_SUM = f"""
local function slice_at(period) return period and math.floor(now / (period / {SLICES})) or 0 end
local function field(kind, number) return string.format('%s%.0f', kind, number) end
local hour = math.floor(now / 3600)
local function purse_of(key, period)
  local slice = slice_at(period)
  local purse = {{spent = 0, reserved = 0, running = 0, slices = {{}}}}
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local kind, number = string.match(fields[i], '(%a)(%d+)')
    local amount = tonumber(fields[i + 1])
    number = tonumber(number)
    if kind == 's' and period and number < slice - {SLICES} or kind ~= 's' and number < hour - 1 then
      redis.call('HDEL', key, fields[i])
    elseif kind == 's' then
      purse.spent = purse.spent + amount
      purse.slices[#purse.slices + 1] = {{number, amount}}
    elseif kind == 'r' then
      purse.reserved = purse.reserved + amount
    else
      purse.running = purse.running + amount
    end
  end
  table.sort(purse.slices, function(one, other) return one[1] < other[1] end)
  return purse
end
local function leaves(number, period) return (number + {SLICES} + 1) * period / {SLICES} - now end
local function keep(key, ends, period)
  expire(key, ends and ends - now or period + period / {SLICES})
end
"""

# KEYS: nothing, and that of each cell. ARGV: now, seconds of a lease, and for each cell its kind, limit and more:
# rate: period, cost; lease: holder; sum: cost, end, period.
# Returns the index of the first cell that refuses or -1, seconds until all would be taken, whether it is merely
# reserved, and for each cell what is left and the seconds until it is full.
TAKE = Script.of(
    _BEGIN
    + _RATE
    + _SUM
    + """
local read = {}
function read.rate(key, limit, period, cost)
  local used = used_of(key, limit, period)
  local over = used + math.min(cost, limit) - limit
  local close = 0.000001 * math.max(1, limit / period)
  local cell = {wait = over > close and over * period / limit or 0}
  function cell.take()
    used = used + cost
    use(key, limit, period, used)
  end
  function cell.left() return limit - used, used * period / limit end
  return cell
end
function read.lease(key, limit, holder)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  local held = redis.call('ZCARD', key)
  local cell = {wait = 0}
  if held >= limit and not redis.call('ZSCORE', key, holder) then
    cell.wait = 1
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[2] then cell.wait = math.min(1, first[2] - now) end
  end
  function cell.take()
    redis.call('ZADD', key, string.format('%.17g', now + said[2]), holder)
    expire(key, said[2])
    held = redis.call('ZCARD', key)
  end
  function cell.left()
    local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
    return limit - held, last[2] and last[2] - now or 0
  end
  return cell
end
function read.sum(key, limit, cost, ends, period)
  local purse = purse_of(key, period)
  local cell = {wait = 0}
  if purse.spent >= limit then
    local rest = purse.spent
    cell.wait = 0.001
    if ends then cell.wait = math.max(cell.wait, ends - now) end
    for _, slice in ipairs(not ends and purse.slices or {}) do
      rest = rest - slice[2]
      if rest < limit then
        cell.wait = math.max(cell.wait, leaves(slice[1], period))
        break
      end
    end
  elseif purse.running > 0 and purse.spent + purse.reserved + cost > limit then
    cell.wait = 2
    cell.reserved = true
  end
  function cell.take()
    purse.reserved = purse.reserved + cost
    redis.call('HINCRBYFLOAT', key, field('r', hour), string.format('%.17g', cost))
    redis.call('HINCRBY', key, field('n', hour), 1)
    keep(key, ends, period)
  end
  function cell.left()
    local reset = 0
    if ends then reset = math.max(0, ends - now)
    elseif #purse.slices > 0 then reset = math.max(0, leaves(purse.slices[#purse.slices][1], period)) end
    return limit - purse.spent - purse.reserved, reset
  end
  return cell
end

local cells, refused, wait = {}, nil, 0
for i, asked in ipairs(said[3]) do
  local cell = read[asked[1]](KEYS[i + 1], asked[2], asked[3], asked[4], asked[5])
  if cell.wait > 0 then
    refused = refused or i
    wait = math.max(wait, cell.wait)
  end
  cells[i] = cell
end
local states = {}
for i, cell in ipairs(cells) do
  if not refused then cell.take() end
  states[i] = {cell.left()}
end
return cmsgpack.pack({refused and refused - 1 or -1, wait, refused and cells[refused].reserved or false, states})
"""
)

# KEYS: nothing, the marks of this process, and that of each correction. ARGV: now, a mark, and for each correction its
# kind, limit, period, end, the reserved amount, the difference, and the number of takes that it corrects. A call whose
# mark is known changes nothing: a server that stood still may do what it was told before it is told again.
SETTLE = Script.of(
    _BEGIN
    + _RATE
    + _SUM
    + """
local settle = {}
function settle.rate(key, limit, period, _, _, difference)
  use(key, limit, period, used_of(key, limit, period) + difference)
end
local function lower(key, kind, number, amount)
  local name = field(kind, number)
  local there = tonumber(redis.call('HGET', key, name) or 0)
  local taken = math.min(there, amount)
  if taken == there then redis.call('HDEL', key, name)
  else redis.call('HINCRBYFLOAT', key, name, string.format('%.17g', -taken)) end
  return amount - taken
end
function settle.sum(key, limit, period, ends, cost, difference, takes)
  lower(key, 'r', hour - 1, lower(key, 'r', hour, cost))
  lower(key, 'n', hour - 1, lower(key, 'n', hour, takes))
  if cost + difference ~= 0 then
    redis.call('HINCRBYFLOAT', key, field('s', slice_at(period)), string.format('%.17g', cost + difference))
  end
  if purse_of(key, period).running == 0 then
    redis.call('HDEL', key, field('r', hour), field('r', hour - 1))
  end
  keep(key, ends, period)
end

if redis.call('ZADD', KEYS[2], said[2], said[2]) == 0 then return end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -257)
expire(KEYS[2], 86400)
for i, each in ipairs(said[3]) do
  settle[each[1]](KEYS[i + 2], each[2], each[3], each[4], each[5], each[6], each[7])
end
"""
)

# KEYS: nothing, and that of each lease. ARGV: now, and the holders.
RELEASE = Script.of(_BEGIN + "for i, holder in ipairs(said[2]) do redis.call('ZREM', KEYS[i + 1], holder) end")

# KEYS: nothing, and that of each lease. ARGV: now, seconds of a lease, and the holders. A lease that expired, or
# that a restarted server has forgotten, is there again, because its request still runs.
RENEW = Script.of(
    _BEGIN
    + """
for i, holder in ipairs(said[3]) do
  redis.call('ZADD', KEYS[i + 1], string.format('%.17g', now + said[2]), holder)
  expire(KEYS[i + 1], said[2])
end
"""
)
