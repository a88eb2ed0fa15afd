/** What is kept with an event of how it was sent: the device, and the transaction id that it gave. Text that a database takes. */
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
