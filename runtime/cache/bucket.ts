import { randomUUID } from 'node:crypto'
import type { Grant, SharedBucket } from '../limits/lease.ts'
import type { RedisConnection } from './connection.ts'

/** A replica that has not asked for so long does not share the bucket any more, in microseconds. */
const PRESENT = 10_000_000

// One hash for each bucket: l level, t when it was so, by Redis' own clock in microseconds, and under each replica's name when it last asked.
// No replica is given more than half of what is there, so that something is left for the others. One that comes back from being alone says
// how many they were (n, at c): until all of them have come back, those who have share their own part, as the others still take theirs.
const TAKE = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local rate, burst, want, debt = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local present, believed = tonumber(ARGV[7]), tonumber(ARGV[8])
local replicas, level, at, before, since = 1, tonumber(ARGV[5]), now, 1, 0
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local value = tonumber(fields[i + 1])
  if fields[i] == 'l' then level = value
  elseif fields[i] == 't' then at = value
  elseif fields[i] == 'n' then before = value
  elseif fields[i] == 'c' then since = value
  elseif fields[i] ~= ARGV[6] then
    if now - value < present then replicas = replicas + 1 else redis.call('HDEL', KEYS[1], fields[i]) end
  end
end
if believed > 1 then before, since = believed, now end
if now - since < present and replicas < before then rate = rate * replicas / before end
level = math.min(burst, level + math.max(0, now - at) * rate / 1000000) - debt
local granted = math.min(want, math.max(math.floor(level / 2), math.min(1, math.floor(level))))
if granted < 0 then granted = 0 end
level = level - granted
local stamp = string.format('%.0f', now)
redis.call('HSET', KEYS[1], 'l', string.format('%.6f', level), 't', stamp, ARGV[6], stamp)
if believed > 1 then redis.call('HSET', KEYS[1], 'n', believed, 'c', stamp) end
redis.call('PEXPIRE', KEYS[1], math.max(20000, math.ceil((burst - level) / rate * 1000)))
return {granted, string.format('%.6f', level), replicas}`

/** The buckets in Redis, for this process as one of the replicas. A bucket that is full, or has lapsed, holds what the asking replica believes. */
export function createSharedBucket({ redis, breaker }: RedisConnection): SharedBucket {
  const self = randomUUID()
  return async (key, { rate, want, debt, start, before }) =>
    toGrant(
      await breaker.run(() =>
        redis.eval(TAKE, 1, `limit:${key}`, rate.perSecond, rate.burst, want, debt, start, self, PRESENT, before).catch(unlessFull),
      ),
    )
}

// A full Redis refuses to write, but it answers, and the cache still reads.
function unlessFull(error: unknown): undefined {
  if (!(error instanceof Error && error.message.includes('OOM'))) throw error
}

function toGrant(answer: unknown): Grant {
  const [granted, left, replicas] = Array.isArray(answer) ? answer.map(Number) : []
  if (granted === undefined || left === undefined || replicas === undefined) throw new Error('Redis gave no grant')
  return { granted, left, replicas }
}
