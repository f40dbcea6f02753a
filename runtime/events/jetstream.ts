import { setTimeout } from 'node:timers/promises'
import {
  AckPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream'
import { connect, type NatsConnection, nanos } from '@nats-io/transport-node'
import type { Log } from '../log.ts'
import { everySubject } from './subjects.ts'

export type JetstreamOptions = {
  url: string
  /** The stream's name, and the first word of its subjects. */
  stream: string
  prefix: string
  log: Log
}

/** A message of a durable consumer. Exactly one of its answers is to be given. */
export type Message = {
  text: string
  /** 1 for the first time. */
  deliveries: number
  ack: () => void
  /** Asks for it again after so many milliseconds. */
  retry: (delay: number) => void
}

/** NATS is not there at the moment. */
class NatsAway extends Error {
  constructor() {
    super('NATS is not connected')
    this.name = 'NatsAway'
  }
}

type Connected = { connection: NatsConnection; client: JetStreamClient; manager: JetStreamManager }

const PUBLISH_TIMEOUT = 5_000
const RECONNECT_WAIT = 250
const RETRY_WAIT = 500
const KEEP_DAYS = 7
const DAY = 24 * 60 * 60 * 1_000

/**
 * The connection to NATS. It is made in the background and kept for ever; the stream is made when it is missing, and again
 * when NATS has lost its data, which is then told to all who listen.
 */
export class Jetstream {
  readonly #options: JetstreamOptions
  readonly #stopped = new AbortController()
  readonly #ready = Promise.withResolvers<Connected>()
  readonly #starting: Promise<void>
  readonly #onConnect = new Set<() => void>()
  readonly #onNewStream = new Set<() => void>()
  readonly #running = new Set<Promise<void>>()
  #connected: Connected | undefined
  #isUp = false

  constructor(options: JetstreamOptions) {
    this.#options = options
    this.#ready.promise.catch(() => undefined)
    this.#starting = this.#start()
  }

  get isConnected(): boolean {
    return this.#isUp
  }

  /** Publishes one event. Resolves when the stream has it; throws `NatsAway` or what NATS said. */
  async publish(subject: string, text: string, id: string): Promise<void> {
    if (this.#connected === undefined || !this.#isUp) throw new NatsAway()
    try {
      await this.#connected.client.publish(subject, text, { msgID: id, timeout: PUBLISH_TIMEOUT })
    } catch (error) {
      this.#background(this.#ensureStream(this.#connected))
      throw error
    }
  }

  /** Calls `handle` with the messages of the durable consumer of that name, on this replica's share of them. */
  consume(name: string, handle: (message: Message) => void): void {
    this.#background(this.#consumeForEver(name, handle))
  }

  /** Every event as it is published, without a promise that none is missed: `onGap` tells when some may have been. */
  subscribe(onText: (text: string) => void, onGap: () => void): void {
    this.#onConnect.add(onGap)
    this.#background(
      this.#ready.promise.then(({ connection }) => {
        connection.subscribe(everySubject(this.#options.prefix), {
          callback: (error, message) => {
            if (error === null) onText(message.string())
          },
        })
      }),
    )
  }

  /** Calls `listener` when the stream had to be made, so that earlier events are not in it. */
  whenNew(listener: () => void): void {
    this.#onNewStream.add(listener)
  }

  /** Sends what is under way and ends the connection. */
  async close(): Promise<void> {
    this.#stopped.abort()
    this.#ready.reject(new NatsAway())
    await this.#starting
    await this.#connected?.connection.close()
    await Promise.all(this.#running)
  }

  async #start(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      try {
        const connection = await connect({
          servers: this.#options.url,
          name: 'tenantry-runtime',
          maxReconnectAttempts: -1,
          reconnectTimeWait: RECONNECT_WAIT,
          pingInterval: 5_000,
          maxPingOut: 2,
        })
        return await this.#accept(connection)
      } catch (error) {
        this.#options.log.debug({ error }, 'NATS is not there yet')
        await this.#pause(RETRY_WAIT)
      }
    }
  }

  async #accept(connection: NatsConnection): Promise<void> {
    const manager = await jetstreamManager(connection, { checkAPI: false })
    const connected = { connection, manager, client: jetstream(connection) }
    this.#connected = connected
    this.#isUp = true
    this.#background(this.#watch(connected))
    await this.#ensureStream(connected).catch((error: unknown) => this.#options.log.warn({ error }, 'the stream cannot be made yet'))
    this.#ready.resolve(connected)
  }

  async #watch(connected: Connected): Promise<void> {
    for await (const { type } of connected.connection.status()) {
      if (type === 'disconnect') this.#isUp = false
      if (type !== 'reconnect') continue
      this.#isUp = true
      this.#options.log.info({}, 'NATS is back')
      for (const listener of this.#onConnect) listener()
      this.#background(this.#ensureStream(connected))
    }
    this.#isUp = false
  }

  async #ensureStream({ manager }: Connected): Promise<void> {
    const { stream, prefix, log } = this.#options
    try {
      await manager.streams.info(stream)
    } catch (error) {
      if (!(error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound))
        return log.warn({ error }, 'the stream cannot be looked at')
      await manager.streams.add({
        name: stream,
        subjects: [everySubject(prefix)],
        storage: StorageType.File,
        retention: RetentionPolicy.Limits,
        max_age: nanos(KEEP_DAYS * DAY),
      })
      log.info({ stream }, 'the stream has been made')
      for (const listener of this.#onNewStream) listener()
    }
  }

  async #consumeForEver(name: string, handle: (message: Message) => void): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      try {
        await this.#consumeOnce(await this.#ready.promise, name, handle)
      } catch (error) {
        if (!this.#stopped.signal.aborted) this.#options.log.warn({ error, consumer: name }, 'consuming again after an error')
      }
      await this.#pause(RETRY_WAIT)
    }
  }

  async #consumeOnce(connected: Connected, name: string, handle: (message: Message) => void): Promise<void> {
    const { stream } = this.#options
    await this.#ensureStream(connected)
    await connected.manager.consumers.add(stream, {
      durable_name: name,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(30_000),
      max_ack_pending: 2_000,
    })
    const consumer = await connected.client.consumers.get(stream, name)
    const messages = await consumer.consume({ max_messages: 500, expires: 5_000, idle_heartbeat: 1_000, abort_on_missing_resource: true })
    const end = () => void messages.close()
    this.#onNewStream.add(end)
    this.#stopped.signal.addEventListener('abort', end, { once: true })
    try {
      for await (const message of messages) {
        handle({
          text: message.string(),
          deliveries: message.info.deliveryCount,
          ack: () => message.ack(),
          retry: (delay) => message.nak(delay),
        })
      }
    } finally {
      this.#onNewStream.delete(end)
      this.#stopped.signal.removeEventListener('abort', end)
    }
  }

  // What runs beside must not end the process; it is waited for in close.
  #background(work: Promise<void>): void {
    const running = work
      .catch((error: unknown) => {
        if (!this.#stopped.signal.aborted) this.#options.log.warn({ error }, 'work on NATS failed')
      })
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  async #pause(milliseconds: number): Promise<void> {
    await setTimeout(milliseconds, undefined, { signal: this.#stopped.signal }).catch(() => undefined)
  }
}
