/** Calls `task` for each key once, `ms` after it was first asked for. */
export function gather(ms: number, signal: AbortSignal, task: (key: string) => void): (key: string) => void {
  const waiting = new Map<string, NodeJS.Timeout>()
  signal.addEventListener('abort', () => {
    for (const timer of waiting.values()) clearTimeout(timer)
  })
  return (key) => {
    if (signal.aborted || waiting.has(key)) return
    const run = () => {
      waiting.delete(key)
      task(key)
    }
    waiting.set(key, setTimeout(run, ms))
  }
}
