import { createHash, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import express, { type Request } from 'express'
import { escapeIdentifier, Pool, type PoolClient } from 'pg'
import { z } from 'zod'
import type { Route } from '../../config/routing.ts'
import type { World } from './world.ts'

// What a good team writes without Tenantry: express 5, a pool of the same size over the same TLS, named statements, strict input,
// hashed keys, and a transaction for each request that takes the tenant's role and leaves it.

const COLUMNS = `id, title, description, priority, status, tags, due_date AS "dueDate", assignee, version,
  created_at AS "createdAt", updated_at AS "updatedAt", completed_at AS "completedAt"`

const newTask = z.strictObject({
  title: z.string().min(1).max(200),
  description: z.string().max(10_000).optional(),
  priority: z.enum(['low', 'medium', 'high', 'urgent']).default('medium'),
  tags: z.array(z.string()).max(20).default([]),
})

const world: World = JSON.parse(await readFile(process.argv[2] ?? '', 'utf8'))
const routes = new Map(world.peers.flatMap(({ route }) => route.keys.map(({ sha256 }) => [sha256, route])))
const { host, port, database } = world.shard
const { username: user, password, ca } = world.credentials
const pool = new Pool({ host, port, database, user, password, max: 8, ssl: { ca, rejectUnauthorized: true } })

/** Runs `work` as the tenant: nothing of one request is left for the next. */
async function asTenant<T>(route: Route, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  try {
    await client.query({ name: 'begin', text: 'BEGIN' })
    await client.query({ name: 'role', text: "SELECT set_config('role', $1, true)", values: [route.role] })
    const result = await work(client)
    await client.query({ name: 'commit', text: 'COMMIT' })
    return result
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

function routeOf(request: Request): Route | undefined {
  const token = request.get('x-api-key') ?? ''
  return routes.get(createHash('sha256').update(token).digest('hex'))
}

const app = express()
app.disable('x-powered-by')
app.set('etag', false)
app.use(express.json())

app.get('/v1/tasks/:id', async (request, response) => {
  const route = routeOf(request)
  if (route === undefined) return void response.sendStatus(401)
  const name = `get ${route.schema}`
  const text = `SELECT ${COLUMNS} FROM ${escapeIdentifier(route.schema)}.tasks WHERE tenant_id = $1 AND id = $2`
  const { rows } = await asTenant(route, (client) => client.query({ name, text, values: [route.uid, request.params.id] }))
  if (rows[0] === undefined) return void response.sendStatus(404)
  response.set('ETag', `"${rows[0].version}"`).json(rows[0])
})

app.post('/v1/tasks', async (request, response) => {
  const route = routeOf(request)
  if (route === undefined) return void response.sendStatus(401)
  const input = newTask.safeParse(request.body)
  if (!input.success) return void response.status(400).json(input.error.issues)
  const [row] = await asTenant(route, (client) => create(client, route, input.data))
  response.status(201).set('Location', `/v1/tasks/${row?.id}`).set('ETag', '"1"').json(row)
})

async function create(client: PoolClient, { schema, uid }: Route, task: z.infer<typeof newTask>): Promise<Record<string, unknown>[]> {
  const [id, now] = [randomUUID(), new Date()]
  const { rows } = await client.query({
    name: `task ${schema}`,
    text: `INSERT INTO ${escapeIdentifier(schema)}.tasks
             (tenant_id, id, title, description, priority, status, tags, version, position, created_at, updated_at)
           VALUES ($1, $2, $3, $4, $5, 'pending', $6, 1, 0, $7, $7) RETURNING ${COLUMNS}`,
    values: [uid, id, task.title, task.description, task.priority, task.tags, now],
  })
  await client.query({
    name: `event ${schema}`,
    text: `INSERT INTO ${escapeIdentifier(schema)}.events (tenant_id, id, type, aggregate_id, aggregate_version, data, time)
           VALUES ($1, $2, 'task.created', $3, 1, $4, $5)`,
    values: [uid, randomUUID(), id, JSON.stringify(task), now],
  })
  return rows
}

const server = app.listen(0, '127.0.0.1', () => {
  const address = server.address()
  console.log(JSON.stringify({ msg: 'listening', port: typeof address === 'object' ? address?.port : undefined }))
})
process.once('SIGTERM', () => process.exit(0))
