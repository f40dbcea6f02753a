import { open, stat } from 'node:fs/promises'

const TAIL_BYTES = 16_384

/** The bytes in a file; 0 when there is none. */
export async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0,
  )
}

/** The last `count` lines of a log, of those written at or after byte `from`; none when there is no file. */
export async function tail(file: string, count: number, from = 0): Promise<string[]> {
  const size = await sizeOf(file)
  const start = Math.max(from, size - TAIL_BYTES)
  if (size <= start) return []
  const handle = await open(file)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(size - start), 0, size - start, start)
    return buffer.subarray(0, bytesRead).toString('utf8').trimEnd().split('\n').slice(-count)
  } finally {
    await handle.close()
  }
}
