import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DASHBOARDS } from './dashboards.ts'
import { toGrafana } from './grafana.ts'

// What `make dashboards` runs: writes the files that Grafana imports.
for (const dashboard of DASHBOARDS) {
  const file = join(import.meta.dirname, 'dashboards', `${dashboard.name}.json`)
  await writeFile(file, `${JSON.stringify(toGrafana(dashboard), null, 2)}\n`)
}
