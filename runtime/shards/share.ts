import type { SessionSettings } from './endpoint.ts'

/** How many server connections of each kind a replica may have to a Shard. */
export type Share = Pick<SessionSettings, 'pipelined' | 'interactive' | 'databases'>

/**
 * What a replica may have of each kind when the Shard lets it have `most` in all, three at least: as many as the settings say, or less in the
 * same proportion, and never none of a kind.
 */
export function shareOf({ pipelined, interactive, databases }: Share, most = Number.POSITIVE_INFINITY): Share {
  const wanted = pipelined + interactive + databases
  if (wanted <= most) return { pipelined, interactive, databases }
  const part = (count: number, room: number) => Math.min(room, Math.max(1, Math.floor((most * count) / wanted)))
  const own = part(databases, most - 2)
  const thinking = part(interactive, most - own - 1)
  return { pipelined: Math.min(pipelined, most - own - thinking), interactive: thinking, databases: own }
}
