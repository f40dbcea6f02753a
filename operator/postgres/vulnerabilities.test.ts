import { expect, test } from 'vitest'
import { warnOfVersion } from './vulnerabilities.ts'

const BOTH = ['CVE-2024-10976', 'CVE-2025-8713']
const cases: [version: number, open: string[], upgrade: string | undefined][] = [
  [160_000, BOTH, '16.10'],
  [160_004, BOTH, '16.10'],
  [160_005, ['CVE-2025-8713'], '16.10'],
  [160_009, ['CVE-2025-8713'], '16.10'],
  [160_010, [], undefined],
  [170_000, BOTH, '17.6'],
  [170_001, ['CVE-2025-8713'], '17.6'],
  [170_006, [], undefined],
  [180_000, [], undefined],
  [190_000, [], undefined],
]

test.each(cases)('PG-19: %i has %j, mended in %s', (version, open, upgrade) => {
  const warning = warnOfVersion(version)
  expect(warning?.match(/CVE-\d+-\d+/g) ?? []).toEqual(open)
  expect(warning?.match(/upgrade to ([\d.]+) or later/)?.[1]).toBe(upgrade)
})
