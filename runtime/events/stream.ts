import type { StoredEvent } from '../projections/projection.ts'
import { parseCloudEvent } from './cloud-event.ts'
import type { Jetstream } from './jetstream.ts'

/** What a listener to all events is told. */
export type StreamListener = {
  onEvent: (event: StoredEvent) => void
  /** Events may have been missed: what was kept on the strength of having seen them all is to be dropped. */
  onGap: () => void
}

/** Tells of every event of every tenant, soon after it was relayed, on every replica; at most once each. */
export function followEvents(jetstream: Jetstream, { onEvent, onGap }: StreamListener): void {
  jetstream.subscribe((text) => {
    const event = parseCloudEvent(text)
    if (event !== undefined) onEvent(event)
  }, onGap)
}
