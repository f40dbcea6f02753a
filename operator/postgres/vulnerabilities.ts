/** A fault of Postgres through which row-level security lets out what it should hide, and the first minor without it, by major. */
type Vulnerability = { cve: string; fixedIn: Readonly<Record<number, number>> }

// Majors that are not named never had it. https://www.postgresql.org/support/security/
const VULNERABILITIES: readonly Vulnerability[] = [
  // Policies of another role are applied when a plan with a subquery is used again.
  { cve: 'CVE-2024-10976', fixedIn: { 16: 5, 17: 1 } },
  // A leaky operator reads statistics of rows that a policy hides.
  { cve: 'CVE-2025-8713', fixedIn: { 16: 10, 17: 6 } },
]

/**
 * What people should know of a server's version, with the minor to upgrade to; undefined when nothing is known against it. `version` is
 * `server_version_num`, such as 160004 for 16.4.
 */
export function warnOfVersion(version: number): string | undefined {
  const major = Math.floor(version / 10_000)
  const minor = version % 10_000
  const open = VULNERABILITIES.filter(({ fixedIn }) => minor < (fixedIn[major] ?? 0))
  if (open.length === 0) return undefined
  const upgrade = Math.max(...open.map(({ fixedIn }) => fixedIn[major] ?? 0))
  const names = open.map(({ cve }) => cve).join(' and ')
  return `Postgres ${major}.${minor} has ${names}, which can show one tenant's rows to another: upgrade to ${major}.${upgrade} or later.`
}
