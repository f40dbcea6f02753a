import { expect, test } from 'vitest'
import { createIsGateway } from './gateway.ts'

const isGateway = createIsGateway(['10.1.2.3', '192.168.0.0/24', 'fd00::/8'])

test.each([
  ['10.1.2.3', true],
  ['::ffff:10.1.2.3', true],
  ['10.1.2.4', false],
  ['192.168.0.255', true],
  ['192.168.1.0', false],
  ['fd12::1', true],
  ['fe80::1', false],
  ['nonsense', false],
  [undefined, false],
])('TI-01: a request from %s comes from a gateway: %s', (address, expected) => {
  expect(isGateway(address)).toBe(expected)
})

test('TI-01: nobody is a gateway unless the settings say so', () => {
  for (const address of ['127.0.0.1', '::1', '10.1.2.3', undefined]) expect(createIsGateway([])(address)).toBe(false)
})
