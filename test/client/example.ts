import createClient from 'openapi-fetch'
import type { paths } from './api.ts'

/** Makes a task, changes it if nobody else has meanwhile, and counts what is to be done. */
export async function waterThePlants(baseUrl: string, key: string): Promise<string> {
  const tenantry = createClient<paths>({ baseUrl, headers: { 'X-API-Key': key } })
  const made = await tenantry.POST('/v1/tasks', { body: { title: 'Water the plants', tags: ['garden'] } })
  if (made.error) throw new Error(made.error.detail)
  const { id, version } = made.data
  const header = { 'If-Match': `"${version}"` }
  const changed = await tenantry.PATCH('/v1/tasks/{id}', { params: { path: { id }, header }, body: { priority: 'high' } })
  if (changed.error) throw new Error(changed.error.detail)
  const list = await tenantry.GET('/v1/tasks', { params: { query: { tag: 'garden', limit: 10 } } })
  return `${changed.data.title} (${changed.data.priority}), ${list.data?.items.length} in the garden`
}
