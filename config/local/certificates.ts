import 'reflect-metadata'
import { X509Certificate as PemCertificate, webcrypto } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const DAY_MS = 86_400_000
const AUTHORITY_DAYS = 3_650
// Browsers and Go on macOS refuse a server certificate that is valid for longer.
const LEAF_DAYS = 820
const RENEW_BEFORE_DAYS = 30

/** The files of a certificate and its key, in PEM. */
export type CertificateFiles = { certificateFile: string; keyFile: string }

/** What a certificate is for: a server under these host names and addresses, or a client. `days`: how long it is valid from now on; less than 0: it has expired. */
export type Subject = { name: string; organization?: string; hosts?: readonly string[]; days?: number }

/** A certificate authority kept in a folder. */
export type Authority = {
  /** The authority's certificate in PEM. */
  certificate: string
  certificateFile: string
  /** The certificate `<file>.crt` and key `<file>.key` in the authority's folder; made when missing or about to expire. */
  issue(file: string, subject: Subject): Promise<CertificateFiles>
}

/** Opens the authority of a folder, and makes one when there is none. Keys are readable by their owner only. */
export async function openAuthority(folder: string, name: string): Promise<Authority> {
  await mkdir(folder, { recursive: true })
  const files = filesOf(folder, 'ca')
  if (!(await isValid(files.certificateFile))) await createAuthority(files, name)
  const certificate = await readFile(files.certificateFile, 'utf8')
  return { certificate, certificateFile: files.certificateFile, issue: (file, subject) => issue(folder, certificate, file, subject) }
}

async function createAuthority(files: CertificateFiles, name: string): Promise<void> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [name] }],
    keys,
    signingAlgorithm: ALGORITHM,
    ...validity(AUTHORITY_DAYS),
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  })
  await write(files, certificate, keys.privateKey)
}

async function issue(folder: string, authority: string, file: string, subject: Subject): Promise<CertificateFiles> {
  const files = filesOf(folder, file)
  if (await isValid(files.certificateFile, authority)) return files
  const issuer = new X509Certificate(authority)
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.create({
    subject: [{ CN: [subject.name] }, ...(subject.organization === undefined ? [] : [{ O: [subject.organization] }])],
    issuer: issuer.subjectName,
    publicKey: keys.publicKey,
    signingKey: await readKey(filesOf(folder, 'ca').keyFile),
    signingAlgorithm: ALGORITHM,
    ...validity(subject.days ?? LEAF_DAYS),
    extensions: extensionsOf(subject),
  })
  await write(files, certificate, keys.privateKey)
  return files
}

function extensionsOf({ hosts }: Subject): Extension[] {
  const usage = hosts === undefined ? ExtendedKeyUsage.clientAuth : ExtendedKeyUsage.serverAuth
  const names = (hosts ?? []).map((host) => ({ type: isIP(host) === 0 ? ('dns' as const) : ('ip' as const), value: host }))
  return [
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([usage]),
    ...(names.length === 0 ? [] : [new SubjectAlternativeNameExtension(names)]),
  ]
}

function validity(days: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(Date.now() - DAY_MS - Math.max(0, -days) * DAY_MS), notAfter: new Date(Date.now() + days * DAY_MS) }
}

async function isValid(certificateFile: string, authority?: string): Promise<boolean> {
  try {
    const certificate = new PemCertificate(await readFile(certificateFile))
    const issued = authority === undefined || certificate.verify(new PemCertificate(authority).publicKey)
    return issued && certificate.validToDate.getTime() > Date.now() + RENEW_BEFORE_DAYS * DAY_MS
  } catch {
    return false
  }
}

async function readKey(file: string): Promise<webcrypto.CryptoKey> {
  const [der] = PemConverter.decode(await readFile(file, 'utf8'))
  if (der === undefined) throw new Error(`${file} holds no key: remove the folder it is in`)
  return webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, true, ['sign'])
}

// The key first: a certificate file stands only beside its key, also when this is interrupted between the two.
async function write(files: CertificateFiles, certificate: X509Certificate, key: webcrypto.CryptoKey): Promise<void> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', key)
  await writeFile(files.keyFile, `${PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`, { mode: 0o600 })
  await writeFile(files.certificateFile, `${certificate.toString('pem')}\n`)
}

function filesOf(folder: string, file: string): CertificateFiles {
  return { certificateFile: join(folder, `${file}.crt`), keyFile: join(folder, `${file}.key`) }
}
