import { basename } from 'node:path'
import type { Source } from './imports.ts'

const VAGUE = /(^|[-/.])(utils?|common|helpers?|managers?|services?|base)([-/.]|$)/i
// What Kustomize calls the manifests that overlays build on.
const KUSTOMIZE_BASE = 'config/kubernetes/base/'
const MACHINE = /(?<![\w.~$}*-])\/(?:work|root|tmp|home\/\w+|Users\/\w+)\//
const LONGEST = 300

/** Names that say nothing, files too long to read in one go, and paths that stand on one machine only. */
export function untidy({ path, text }: Source): string[] {
  const faults: string[] = []
  const lines = text.split('\n')
  if (VAGUE.test(path.replace(KUSTOMIZE_BASE, ''))) faults.push(`${path}: a name should say what is inside, and this one does not`)
  if (/\.(ts|sql)$/.test(path) && lines.length - 1 > LONGEST) faults.push(`${path}: has ${lines.length - 1} lines; ${LONGEST} are enough`)
  lines.forEach((line, index) => {
    if (MACHINE.test(line)) faults.push(`${path}:${index + 1}: names a path that stands on one machine only`)
  })
  if (basename(path) === 'package-lock.json' && text.includes('"resolved"')) {
    faults.push(`${path}: names the registry it was made with; .npmrc leaves that out`)
  }
  return faults
}
