import { escapeLiteral as text } from 'pg'
import { block, lockTenant } from './statements.ts'

/** The Tenant that is to have data from now on, and the epoch that the data was kept with. */
export type Adoption = { owner: string; namespace: string; name: string; epoch: number }

/** Gives data that is only kept to another Tenant, and shuts out who still knows its former epoch. Of two that want it the second fails. */
export function adoptRecord(uid: string, { owner, namespace, name, epoch }: Adoption): string {
  return `${lockTenant(uid)}
${block(`UPDATE tenantry.tenants
     SET owner = ${text(owner)}, namespace = ${text(namespace)}, name = ${text(name)}, epoch = ${epoch + 1}, retained_at = NULL
   WHERE uid = ${text(uid)} AND epoch = ${epoch} AND retained_at IS NOT NULL;
  IF NOT FOUND THEN RAISE 'the data is in use' USING ERRCODE = 'object_in_use'; END IF;`)}
${raiseEpoch(uid, epoch)}`
}

/** Shuts out who still knows the former epoch, where the head is: in a tenant's own database or in the Shard's. Does nothing the second time. */
export function raiseEpoch(uid: string, epoch: number): string {
  return `UPDATE tenantry.head SET epoch = ${epoch + 1} WHERE tenant = ${text(uid)} AND epoch = ${epoch};`
}

/** Fails, and whatever comes after it in the same transaction, when the data belongs to another Tenant by now. */
export function checkOwner(uid: string, owner: string): string {
  return `${lockTenant(uid)}
${block(`IF EXISTS (SELECT FROM tenantry.tenants WHERE uid = ${text(uid)} AND coalesce(owner, uid) <> ${text(owner)}) THEN
  RAISE 'the data belongs to another Tenant' USING ERRCODE = 'object_in_use';
END IF;`)}`
}
