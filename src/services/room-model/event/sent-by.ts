/** The column `sent_by` of an event: the device that sent it, and its transaction id, as text that PostgreSQL accepts. */
export const sentByOf = ({
  deviceId,
  txnId,
}: {
  readonly deviceId: string | undefined;
  readonly txnId: string;
}): string => JSON.stringify([deviceId ?? null, txnId]);

/** The transaction id, for that device and no other. */
export const transactionIdOf = (sentBy: string, deviceId: string | undefined): string | undefined => {
  const [device, txnId] = JSON.parse(sentBy) as [string | null, string];
  return device === (deviceId ?? null) ? txnId : undefined;
};
