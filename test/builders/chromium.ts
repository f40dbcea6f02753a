import { userInfo } from 'node:os'
import { type Browser, chromium } from 'playwright-core'
import { run } from '../../config/local/run.ts'

const PROGRAMS = ['chromium', 'chromium-headless-shell', 'chromium-browser', 'google-chrome']
/** Debian's; it has no window, and needs a tenth of what a desktop's browser does. */
const PACKAGES = ['chromium-headless-shell', 'fonts-dejavu-core']

/** Starts Chromium without a window: that of the system, else Debian's, which root has installed. Throws when there is none and none can be had. */
export async function startChromium(): Promise<Browser> {
  const executablePath = (await findChromium()) ?? (await install())
  // Chromium refuses to run as root in its sandbox. What it is shown here is our own.
  return chromium.launch({ executablePath, chromiumSandbox: userInfo().uid !== 0 })
}

async function findChromium(): Promise<string | undefined> {
  for (const program of PROGRAMS) {
    const found = await run('which', [program]).catch(() => undefined)
    const path = found?.stdout.trim()
    if (path && (await works(path))) return path
  }
  return undefined
}

/** On some systems the name is there, and only says how to have the program. */
function works(path: string): Promise<boolean> {
  return run(path, ['--version']).then(
    () => true,
    () => false,
  )
}

async function install(): Promise<string> {
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  try {
    if (userInfo().uid !== 0) throw new Error('only root may install it')
    await run('apt-get', ['update', '-qq'], { env }).catch(() => undefined)
    await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...PACKAGES], { env })
  } catch (cause) {
    throw new Error('there is no chromium: install it, on Debian with "sudo apt-get install chromium"', { cause })
  }
  const path = await findChromium()
  if (path === undefined) throw new Error('chromium was installed, and does not run')
  return path
}
