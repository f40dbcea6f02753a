/** Where an event of a tenant is published: `<prefix>.<tenant uid>.<aggregate>.<event>`, given a type such as `task.created`. */
export function subjectOf(prefix: string, tenantUid: string, type: string): string {
  return `${prefix}.${tenantUid}.${type}`
}

/** All events of all tenants. */
export function everySubject(prefix: string): string {
  return `${prefix}.>`
}

/** All events of one tenant. */
export function everySubjectOf(prefix: string, tenantUid: string): string {
  return `${prefix}.${tenantUid}.>`
}

/** The UID of the tenant in a subject. */
export function tenantIn(prefix: string, subject: string): string {
  return subject.slice(prefix.length + 1).split('.')[0] ?? ''
}
