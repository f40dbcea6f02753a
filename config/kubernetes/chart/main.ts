import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { run } from '../../local/run.ts'
import { chartOf, type Manifest } from '../chart.ts'

// What `make chart` runs: writes the parts of the chart that are made of the manifests.
const folder = import.meta.dirname
const { stdout } = await run('kubectl', ['kustomize', join(folder, '..', 'overlays', 'production')])
const { version } = JSON.parse(await readFile(join(folder, '..', '..', '..', 'package.json'), 'utf8'))
const manifests = parseAllDocuments(stdout).map((document) => document.toJS() as Manifest)
for (const [path, text] of Object.entries(chartOf(manifests, version))) await writeFile(join(folder, path), text)
