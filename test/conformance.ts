import { afterEach } from 'vitest'
import { type Contract, contractOf, type Exchanged } from './builders/conformance.ts'

// Every answer that any test gets of a runtime by `fetch` is held to the document of that runtime. What is wrong fails the test that was
// running, whatever it did with the answer.
const faults: string[] = []
const bare = globalThis.fetch

globalThis.fetch = async (input, init) => {
  const answer = await bare(input, init)
  const url = new URL(input instanceof Request ? input.url : input)
  const contract = contractOf(url)
  if (contract === undefined) return answer
  const method = (input instanceof Request ? input.method : init?.method) ?? 'GET'
  const exchanged = {
    method,
    path: url.pathname,
    status: answer.status,
    headers: Object.fromEntries(answer.headers),
    body: await bodyOf(answer),
  }
  faults.push(...faultsOf(contract, exchanged).map((fault) => `${describe(exchanged)}: ${fault}`))
  return answer
}

/** What cannot be looked at is a fault as well, and none that the test under way should be thrown. */
function faultsOf(contract: Contract, exchanged: Exchanged): string[] {
  try {
    return contract.faultsOf(exchanged)
  } catch (error) {
    return [String(error)]
  }
}

afterEach(() => {
  const found = [...new Set(faults.splice(0))]
  if (found.length > 0) throw new Error(`answers that are not as the OpenAPI document says:\n${found.join('\n')}`)
})

// A live stream has no end to wait for; a body that is cut short is the test's own business.
async function bodyOf(answer: Response): Promise<string | undefined> {
  if (/event-stream/.test(answer.headers.get('content-type') ?? '')) return undefined
  return answer
    .clone()
    .text()
    .catch(() => undefined)
}

function describe({ method, path, status, body }: Exchanged): string {
  return `${method} ${path} ${status} ${body?.slice(0, 300) ?? ''}`
}
