// The types of the API, made of its own document by `make client`; `make check` fails when they are not of the API as it is.

export type Problem = { type: string; title: string; status: number; detail: string; requestId: string; errors?: ({ field: string; message: string })[] }

export type Health = { status: "ok"; version: string }

export type Readiness = { status: "ready" | "not-ready"; checks: { accepting: boolean; routing: boolean; shards: boolean } }

export type TaskStatistics = { total: number; completed: number; pending: number; overdue: number; byPriority: { low: number; medium: number; high: number; urgent: number }; byStatus: { pending: number; in_progress: number; completed: number } }

export type Task = { id: string; title: string; description: string | null; priority: "low" | "medium" | "high" | "urgent"; status: "pending" | "in_progress" | "completed"; tags: (string)[]; dueDate: string | null; assignee: string | null; version: number; createdAt: string; updatedAt: string; completedAt: string | null }

export type TaskPage = { items: (Task)[]; nextCursor: string | null }

export type User = { id: string; email: string; displayName: string; version: number; createdAt: string; updatedAt: string }

export type UserPage = { items: (User)[]; nextCursor: string | null }

export type Tenant = { id: string; displayName: string | null; plan: string | null; isolation: "row" | "schema" | "database"; limits: { requestsPerSecond: number | null; burst: number | null; concurrency: number | null; tasks: number | null; users: number | null; storageMiB: number | null }; usage: { tasks: number; users: number; dataBytes: number }; settings: Record<string, unknown> }

export type AuditPage = { items: ({ id: string; time: string; actor: string; action: string; result: string; target: string | null; requestId: string })[]; nextCursor: string | null }

export type ExportLine = { kind: "tenant"; data: { id: string; displayName: string | null; plan: string | null; isolation: string; settings: Record<string, unknown>; position: number } } | { kind: "tasks"; after: string; data: Task } | { kind: "users"; after: string; data: User } | { kind: "audit"; after: string; data: { id: string; time: string; actor: string; action: string; result: string; target: string | null; requestId: string } } | { kind: "events"; after: string; data: { specversion: "1.0"; id: string; source: string; type: string; subject: string; time: string; datacontenttype: "application/json"; tenantid: string; aggregateversion: number; position: number; userid?: string; data: Record<string, unknown> } } | { kind: "mark"; after: string; sha256: string } | { kind: "end"; counts: { tasks: number; users: number; audit: number; events: number }; sha256: string }

export type paths = {
  '/health': {
    /** Whether the process answers. */
    get: { parameters: {  }; responses: { 200: { content: { 'application/json': Health } }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/health/ready': {
    /** Whether requests may be sent here. */
    get: { parameters: {  }; responses: { 200: { content: { 'application/json': Readiness } }; 503: { content: { 'application/json': Readiness; 'application/problem+json': Problem } }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/v1/tasks/statistics': {
    /** How many tasks there are of each kind. */
    get: { parameters: { header?: { 'X-Tenant-ID'?: string } }; responses: { 200: { content: { 'application/json': TaskStatistics } }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/v1/tasks/{id}': {
    /** One task. */
    get: { parameters: { path: { id: string }; header?: { 'If-None-Match'?: string; 'X-Tenant-ID'?: string } }; responses: { 200: { content: { 'application/json': Task } }; 304: { content?: never }; default: { content: { 'application/problem+json': Problem } } } }
    /** Change what is named of a task, and leave the rest. */
    patch: { parameters: { path: { id: string }; header?: { 'If-Match'?: string; 'Idempotency-Key'?: string; 'X-Tenant-ID'?: string } }; requestBody?: { content: { 'application/json': { title?: string; description?: string | null; priority?: "low" | "medium" | "high" | "urgent"; tags?: (string)[]; dueDate?: string | null; assignee?: string | null; status?: "pending" | "in_progress" } } }; responses: { 200: { content: { 'application/json': Task } }; default: { content: { 'application/problem+json': Problem } } } }
    /** Remove a task. */
    delete: { parameters: { path: { id: string }; header?: { 'If-Match'?: string; 'Idempotency-Key'?: string; 'X-Tenant-ID'?: string } }; responses: { 204: { content?: never }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/v1/tasks': {
    /** Tasks, newest first, a page at a time. */
    get: { parameters: { query?: { status?: "pending" | "in_progress" | "completed"; priority?: "low" | "medium" | "high" | "urgent"; tag?: string; assignee?: string; limit?: number; cursor?: string }; header?: { 'X-Tenant-ID'?: string } }; responses: { 200: { content: { 'application/json': TaskPage } }; default: { content: { 'application/problem+json': Problem } } } }
    /** Make a task. */
    post: { parameters: { header?: { 'Idempotency-Key'?: string; 'X-Tenant-ID'?: string } }; requestBody: { content: { 'application/json': { title: string; description?: string | null; priority?: "low" | "medium" | "high" | "urgent"; tags?: (string)[]; dueDate?: string | null; assignee?: string | null } } }; responses: { 201: { content: { 'application/json': Task } }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/v1/tasks/{id}/complete': {
    /** Mark a task as done, once. */
    post: { parameters: { path: { id: string }; header?: { 'If-Match'?: string; 'Idempotency-Key'?: string; 'X-Tenant-ID'?: string } }; responses: { 200: { content: { 'application/json': Task } }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/v1/users/{id}': {
    /** One user. */
    get: { parameters: { path: { id: string }; header?: { 'If-None-Match'?: string; 'X-Tenant-ID'?: string } }; responses: { 200: { content: { 'application/json': User } }; 304: { content?: never }; default: { content: { 'application/problem+json': Problem } } } }
    /** Erase a person's data. */
    delete: { parameters: { path: { id: string }; header?: { 'If-Match'?: string; 'Idempotency-Key'?: string; 'X-Tenant-ID'?: string } }; responses: { 204: { content?: never }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/v1/users': {
    /** Users, newest first, a page at a time. */
    get: { parameters: { query?: { limit?: number; cursor?: string }; header?: { 'X-Tenant-ID'?: string } }; responses: { 200: { content: { 'application/json': UserPage } }; default: { content: { 'application/problem+json': Problem } } } }
    /** Make a user. */
    post: { parameters: { header?: { 'Idempotency-Key'?: string; 'X-Tenant-ID'?: string } }; requestBody: { content: { 'application/json': { email: string; displayName: string } } }; responses: { 201: { content: { 'application/json': User } }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/v1/tenant': {
    /** The tenant itself: plan, limits, usage and settings. */
    get: { parameters: { header?: { 'X-Tenant-ID'?: string } }; responses: { 200: { content: { 'application/json': Tenant } }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/v1/admin/audit': {
    /** The audit log, newest first, a page at a time. */
    get: { parameters: { query?: { limit?: number; cursor?: string; actor?: string; action?: string }; header?: { 'X-Tenant-ID'?: string } }; responses: { 200: { content: { 'application/json': AuditPage } }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/v1/admin/export': {
    /** Everything of the tenant, as lines of JSON that end with a checksum. */
    get: { parameters: { query?: { after?: string }; header?: { 'X-Tenant-ID'?: string } }; responses: { 200: { content: { 'application/x-ndjson': ExportLine } }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/openapi.json': {
    /** This document. */
    get: { parameters: { header?: { 'If-None-Match'?: string } }; responses: { 200: { content: { 'application/json': Record<string, unknown> } }; 304: { content?: never }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/docs': {
    /** What the document says, for people. */
    get: { parameters: { header?: { 'If-None-Match'?: string } }; responses: { 200: { content: { 'text/html': string } }; 304: { content?: never }; default: { content: { 'application/problem+json': Problem } } } }
  }
  '/docs/problems/{code}': {
    /** What a kind of problem means, and what to do. */
    get: { parameters: { path: { code: "invalid-request" | "tenant-conflict" | "unauthenticated" | "forbidden" | "tenant-suspended" | "not-found" | "method-not-allowed" | "conflict" | "precondition-failed" | "payload-too-large" | "unsupported-media-type" | "idempotency-mismatch" | "rate-limited" | "quota-exceeded" | "internal" | "shard-unavailable" | "overloaded" }; header?: { 'If-None-Match'?: string } }; responses: { 200: { content: { 'text/html': string } }; 304: { content?: never }; default: { content: { 'application/problem+json': Problem } } } }
  }
}
