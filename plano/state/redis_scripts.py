"""The Lua that runs inside Redis, so that walking a chain takes one round trip.

The layout of the keys, where `name` is a digest of tenant and id, and `tree` a random word made with the tree's first
turn:

    plano:id:{name}          string  "tree row size expires" of the turn that the id leads to
    plano:tree:{tree}        hash    row -> the parent's row (16 characters) and the turn
    plano:talk:{name}:head   hash    head, size, seq, expires, the mark of the last write
    plano:talk:{name}:items  zset    seq -> seq (16 digits), length of the id (4 digits), id, payload
    plano:talk:{name}:ids    hash    item id -> its seqs, separated by blanks

The braces are hash tags: a tree is one key, and a conversation is three keys in one slot. CHAIN and DELETE go from an
id to its tree, a key that they were not given. In a cluster that key may be on another node, so there it takes two
steps.
"""

from __future__ import annotations

from plano.redis_client import Script

_WALK = """
local function walk(tree, row, depth)
  local found = {}
  while depth ~= 0 do
    local value = redis.call('HGET', tree, row)
    if not value then break end
    found[#found + 1] = value
    row = string.sub(value, 1, 16)
    depth = depth - 1
  end
  return found
end
"""

# This is called where a key is not there. A demoted primary may lack a key that the new one has, so it must not answer
# "not found". It refuses every command that writes. On a primary, deleting an absent key changes nothing.
_ABSENT = """
local function absent() redis.call('DEL', KEYS[1]) end
"""

# KEYS: tree. ARGV: row, depth. Returns the values of the turns, newest first.
WALK = Script.of(_WALK + "return walk(KEYS[1], ARGV[1], tonumber(ARGV[2]))")

# KEYS: id. ARGV: start of the tree's key, now, limit, depth. Returns the pointer, then the values as WALK does.
CHAIN = Script.of(
    _WALK
    + _ABSENT
    + """
local pointer = redis.call('GET', KEYS[1])
if not pointer then absent() return {} end
local tree, row, size, expires = string.match(pointer, '(%S+) (%S+) (%S+) (%S+)')
if tonumber(expires) <= tonumber(ARGV[2]) then return {} end
if tonumber(size) > tonumber(ARGV[3]) then return {pointer} end
local found = walk(ARGV[1] .. '{' .. tree .. '}', row, tonumber(ARGV[4]))
table.insert(found, 1, pointer)
return found
"""
)

# KEYS: tree, and the id unless the client is clustered. ARGV: milliseconds to live, row, value, pointer.
PUT = Script.of(
    """
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
if KEYS[2] then redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[1]) end
return 1
"""
)

# KEYS: id. ARGV: start of the tree's key, now.
DELETE = Script.of(
    _ABSENT
    + """
local pointer = redis.call('GET', KEYS[1])
if not pointer then absent() return 0 end
local tree, row, size, expires = string.match(pointer, '(%S+) (%S+) (%S+) (%S+)')
redis.call('HDEL', ARGV[1] .. '{' .. tree .. '}', row)
redis.call('DEL', KEYS[1])
return tonumber(expires) > tonumber(ARGV[2]) and 1 or 0
"""
)

# All scripts below: KEYS head, items, ids.

_ALIVE = (
    _ABSENT
    + """
local function alive(now)
  local expires = redis.call('HGET', KEYS[1], 'expires')
  if not expires then absent() end
  return expires and tonumber(expires) > tonumber(now)
end
"""
)

_WRITTEN = """
local function written(mark)
  return redis.call('HGET', KEYS[1], 'mark') == mark
end
"""

_KEEP = """
local function keep(ttl, expires)
  redis.call('HSET', KEYS[1], 'expires', expires)
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ttl) end
end
"""

# Items are pairs of id and payload in ARGV, from `first` on.
_ADD = """
local function add(first)
  for i = first, #ARGV, 2 do
    local id, payload = ARGV[i], ARGV[i + 1]
    local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
    redis.call('ZADD', KEYS[2], seq, string.format('%016d%04d', seq, #id) .. id .. payload)
    local seqs = redis.call('HGET', KEYS[3], id)
    redis.call('HSET', KEYS[3], id, (seqs and seqs .. ' ' or '') .. string.format('%d', seq))
    redis.call('HINCRBY', KEYS[1], 'size', #payload)
  end
end
"""

_LAST = """
local function last(id)
  local seqs = redis.call('HGET', KEYS[3], id)
  return seqs and string.match(seqs, '(%d+)$')
end
"""

# ARGV: now, milliseconds to live, expires, mark, head, items.
CREATE = Script.of(
    _ALIVE
    + _WRITTEN
    + _KEEP
    + _ADD
    + """
if alive(ARGV[1]) then return written(ARGV[4]) and 1 or 0 end
redis.call('DEL', unpack(KEYS))
redis.call('HSET', KEYS[1], 'head', ARGV[5], 'mark', ARGV[4])
add(6)
keep(ARGV[2], ARGV[3])
return 1
"""
)

# ARGV: now.
HEAD = Script.of(_ALIVE + "return alive(ARGV[1]) and redis.call('HGET', KEYS[1], 'head')")

# ARGV: now, milliseconds to live, expires, head.
UPDATE = Script.of(
    _ALIVE
    + _KEEP
    + """
if not alive(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'head', ARGV[4])
keep(ARGV[2], ARGV[3])
return 1
"""
)

# ARGV: now.
REMOVE = Script.of(
    _ALIVE
    + """
local there = alive(ARGV[1]) and 1 or 0
redis.call('DEL', unpack(KEYS))
return there
"""
)

# ARGV: now, milliseconds to live, expires, mark, bytes to add, limit, items. Returns 1; 0 if there is no conversation;
# minus the size if that would exceed the limit.
APPEND = Script.of(
    _ALIVE
    + _WRITTEN
    + _KEEP
    + _ADD
    + """
if not alive(ARGV[1]) then return 0 end
if written(ARGV[4]) then return 1 end
local size = tonumber(redis.call('HGET', KEYS[1], 'size') or 0) + tonumber(ARGV[5])
if size > tonumber(ARGV[6]) then return -size end
redis.call('HSET', KEYS[1], 'mark', ARGV[4])
add(7)
keep(ARGV[2], ARGV[3])
return 1
"""
)

# ARGV: now, how many, order, and `after` if it is given. Returns a list of items; nil if there is no conversation; 0 if
# there is no item `after`.
PAGE = Script.of(
    _ALIVE
    + _LAST
    + """
if not alive(ARGV[1]) then return false end
local seq
if ARGV[4] then
  seq = last(ARGV[4])
  if not seq then return 0 end
  seq = '(' .. seq
end
if ARGV[3] == 'asc' then
  return redis.call('ZRANGEBYSCORE', KEYS[2], seq or '-inf', '+inf', 'LIMIT', 0, ARGV[2])
end
return redis.call('ZREVRANGEBYSCORE', KEYS[2], seq or '+inf', '-inf', 'LIMIT', 0, ARGV[2])
"""
)

# ARGV: now, id.
ITEM = Script.of(
    _ALIVE
    + _LAST
    + """
local seq = alive(ARGV[1]) and last(ARGV[2])
return seq and redis.call('ZRANGEBYSCORE', KEYS[2], seq, seq)[1]
"""
)

# ARGV: now, id.
REMOVE_ITEM = Script.of(
    _ALIVE
    + """
local seqs = alive(ARGV[1]) and redis.call('HGET', KEYS[3], ARGV[2])
if not seqs then return 0 end
for seq in string.gmatch(seqs, '%d+') do
  local item = redis.call('ZRANGEBYSCORE', KEYS[2], seq, seq)[1]
  redis.call('ZREMRANGEBYSCORE', KEYS[2], seq, seq)
  redis.call('HINCRBY', KEYS[1], 'size', 20 + #ARGV[2] - #item)
end
redis.call('HDEL', KEYS[3], ARGV[2])
return 1
"""
)
