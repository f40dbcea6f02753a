/** Where an event of a tenant is published: `<prefix>.<tenant uid>.<aggregate>.<event>`, given a type such as `task.created`. */
export function subjectOf(prefix: string, tenantUid: string, type: string): string {
  return `${prefix}.${tenantUid}.${type}`
}

/** All events of all tenants. */
export function everySubject(prefix: string): string {
  return `${prefix}.>`
}
