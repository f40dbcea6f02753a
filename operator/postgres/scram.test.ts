import { expect, test } from 'vitest'
import { scramVerifier } from './scram.ts'

test('makes a verifier of the right form, without the password, that depends on the salt', async () => {
  const salt = Buffer.from('MDEyMzQ1Njc4OWFiY2RlZg==', 'base64')
  const verifier = await scramVerifier('pencil', salt)
  expect(verifier).toMatch(/^SCRAM-SHA-256\$4096:MDEyMzQ1Njc4OWFiY2RlZg==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/)
  expect(verifier).not.toContain('pencil')
  expect(await scramVerifier('pencil', salt)).toBe(verifier)
  expect(await scramVerifier('pencil')).not.toBe(verifier)
})
