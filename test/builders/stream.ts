import { jetstream } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { parseCloudEvent } from '../../runtime/events/cloud-event.ts'
import type { StoredEvent } from '../../runtime/projections/projection.ts'

/** Every event that is in a stream under a subject, in the stream's order. */
export async function eventsIn(url: string, stream: string, subject: string): Promise<StoredEvent[]> {
  const connection = await connect({ servers: url })
  try {
    const consumer = await jetstream(connection).consumers.get(stream, { filter_subjects: subject })
    const events: StoredEvent[] = []
    let { num_pending: left } = await consumer.info()
    while (left > 0) {
      const message = await consumer.next({ expires: 2_000 })
      if (message === null) break
      const event = parseCloudEvent(message.string())
      if (event !== undefined) events.push(event)
      left -= 1
    }
    return events
  } finally {
    await connection.close()
  }
}
