import {
  AckPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream'
import { type NatsConnection, nanos } from '@nats-io/transport-node'
import type { Log } from '../../config/log.ts'
import { Connection, NatsAway } from './connection.ts'
import { everySubject, everySubjectOf, tenantIn } from './subjects.ts'

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

const PUBLISH_TIMEOUT = 5_000
const RETRY_WAIT = 500
const ACK_WAIT = 30_000
const MOST_UNACKNOWLEDGED = 2_000
/** JetStream's code for a message that is not there. */
const SEQUENCE_NOT_FOUND = 10_043
const KEEP = 7 * 24 * 60 * 60 * 1_000

/**
 * The stream of all events. It is made when it is missing, and made again when NATS has lost its data, which is then told
 * to all who listen: what was in it is still in the event tables.
 */
export class Jetstream {
  readonly #options: JetstreamOptions
  readonly #connection: Connection
  readonly #onNew = new Set<() => void>()
  #client: JetStreamClient | undefined
  #ensuring: Promise<void> | undefined

  constructor(options: JetstreamOptions) {
    this.#options = options
    this.#connection = new Connection(options.url, options.log)
    this.#connection.whenUp(() => this.#repair())
  }

  get isConnected(): boolean {
    return this.#connection.present !== undefined
  }

  /**
   * Publishes one event. Resolves when the stream has it; throws `NatsAway` or what NATS said. NATS remembers ids for two minutes, also those of
   * messages that were taken out meanwhile: what it takes for known is looked for, and when it is not there it can be published after that time.
   */
  async publish(subject: string, text: string, id: string): Promise<void> {
    const connection = this.#connection.present
    if (connection === undefined) throw new NatsAway()
    try {
      this.#client ??= jetstream(connection)
      const { duplicate, seq } = await this.#client.publish(subject, text, { msgID: id, timeout: PUBLISH_TIMEOUT })
      if (duplicate && !(await this.#has(seq))) throw new Error(`NATS takes an event for known that was taken out: ${id}`)
    } catch (error) {
      this.#repair()
      throw error
    }
  }

  /** Calls `handle` with this replica's share of the messages of the durable consumer of that name, until it is closed. */
  consume(name: string, handle: (message: Message) => void): void {
    this.#connection.background(`consume as ${name}`, async () => {
      while (!this.#connection.stopped.aborted) {
        try {
          await this.#consumeOnce(await this.#connection.ready(), name, handle)
        } catch (error) {
          if (!this.#connection.stopped.aborted) this.#options.log.warn({ error, consumer: name }, 'consuming again after an error')
        }
        await this.#connection.pause(RETRY_WAIT)
      }
    })
  }

  /** Every event as it is published, each at most once; `onGap` tells when some may have been missed. */
  subscribe(onText: (text: string) => void, onGap: () => void): void {
    this.#connection.whenUp(onGap)
    this.#connection.background('subscribe to all events', async () => {
      const connection = await this.#connection.ready()
      connection.subscribe(everySubject(this.#options.prefix), {
        callback: (error, message) => {
          if (error === null) onText(message.string())
        },
      })
    })
  }

  /** The UIDs of all tenants that have events in the stream; none while NATS is away. */
  async tenants(): Promise<string[]> {
    const { stream, prefix } = this.#options
    const manager = await this.#manager()
    const info = await manager?.streams.info(stream, { subjects_filter: everySubject(prefix) })
    return [...new Set(Object.keys(info?.state.subjects ?? {}).map((subject) => tenantIn(prefix, subject)))]
  }

  /** Takes the events of one tenant out of the stream. */
  async purge(tenantUid: string): Promise<void> {
    const { stream, prefix } = this.#options
    await (await this.#manager())?.streams.purge(stream, { filter: everySubjectOf(prefix, tenantUid) })
  }

  /** The last event of a tenant that is in the stream; undefined when there is none. Throws when NATS is away. */
  async last(tenantUid: string): Promise<{ sequence: number; text: string } | undefined> {
    const { stream, prefix } = this.#options
    const manager = await this.#presentManager()
    const message = await manager.streams.getMessage(stream, { last_by_subj: everySubjectOf(prefix, tenantUid) })
    return message === null ? undefined : { sequence: message.seq, text: message.string() }
  }

  /** Takes one message out of the stream; it may be gone already. Throws when NATS is away. */
  async remove(sequence: number): Promise<void> {
    const manager = await this.#presentManager()
    if (await this.#has(sequence)) await manager.streams.deleteMessage(this.#options.stream, sequence, false).catch(unlessGone)
  }

  /** What was noted on the stream, and is lost with it. Throws when NATS is away. */
  async notes(): Promise<Readonly<Record<string, string>>> {
    return (await (await this.#presentManager()).streams.info(this.#options.stream)).config.metadata ?? {}
  }

  /** Notes something on the stream. Of several replicas that do so at once, one may undo what another has noted. Throws when NATS is away. */
  async note(key: string, text: string): Promise<void> {
    const { stream } = this.#options
    const { streams } = await this.#presentManager()
    const { config } = await streams.info(stream)
    await streams.update(stream, { ...config, metadata: { ...config.metadata, [key]: text } })
  }

  /** Calls `listener` when the stream had to be made, so that earlier events are not in it. */
  whenNew(listener: () => void): void {
    this.#onNew.add(listener)
  }

  /** Sends what is under way and ends the connection. */
  close(): Promise<void> {
    return this.#connection.close()
  }

  async #manager(): Promise<JetStreamManager | undefined> {
    const connection = this.#connection.present
    return connection && jetstreamManager(connection, { checkAPI: false })
  }

  async #presentManager(): Promise<JetStreamManager> {
    const manager = await this.#manager()
    if (manager === undefined) throw new NatsAway()
    return manager
  }

  async #has(sequence: number): Promise<boolean> {
    return (await (await this.#presentManager()).streams.getMessage(this.#options.stream, { seq: sequence })) !== null
  }

  #repair(): void {
    const connection = this.#connection.present
    if (connection !== undefined) this.#connection.background('look after the stream', () => this.#ensureStream(connection))
  }

  #ensureStream(connection: NatsConnection): Promise<void> {
    this.#ensuring ??= this.#makeIfMissing(connection).finally(() => {
      this.#ensuring = undefined
    })
    return this.#ensuring
  }

  async #makeIfMissing(connection: NatsConnection): Promise<void> {
    const { stream, prefix, log } = this.#options
    const manager = await jetstreamManager(connection, { checkAPI: false })
    try {
      await manager.streams.info(stream)
    } catch (error) {
      if (!isMissing(error)) throw error
      const subjects = [everySubject(prefix)]
      await manager.streams.add({
        name: stream,
        subjects,
        storage: StorageType.File,
        retention: RetentionPolicy.Limits,
        max_age: nanos(KEEP),
      })
      log.info({ stream }, 'the stream has been made')
      for (const listener of this.#onNew) listener()
    }
  }

  async #consumeOnce(connection: NatsConnection, name: string, handle: (message: Message) => void): Promise<void> {
    const { stream } = this.#options
    await this.#ensureStream(connection)
    const manager = await jetstreamManager(connection, { checkAPI: false })
    const limits = { ack_wait: nanos(ACK_WAIT), max_ack_pending: MOST_UNACKNOWLEDGED }
    await manager.consumers.add(stream, { durable_name: name, ack_policy: AckPolicy.Explicit, ...limits })
    const consumer = await jetstream(connection).consumers.get(stream, name)
    const messages = await consumer.consume({ max_messages: 500, expires: 5_000, idle_heartbeat: 1_000, abort_on_missing_resource: true })
    const end = () => void messages.close()
    this.#onNew.add(end)
    this.#connection.stopped.addEventListener('abort', end, { once: true })
    try {
      for await (const message of messages) handle(toMessage(message))
    } finally {
      this.#onNew.delete(end)
      this.#connection.stopped.removeEventListener('abort', end)
    }
  }
}

function unlessGone(error: unknown): void {
  if (!(error instanceof JetStreamApiError && error.code === SEQUENCE_NOT_FOUND)) throw error
}

function isMissing(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound
}

function toMessage(message: JsMsg): Message {
  return {
    text: message.string(),
    deliveries: message.info.deliveryCount,
    ack: () => message.ack(),
    retry: (delay) => message.nak(delay),
  }
}
