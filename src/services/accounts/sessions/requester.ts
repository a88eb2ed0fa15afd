/** Who sends a request, as the access token says. */
export interface Requester {
  /** Full user id. */
  readonly userId: string;
  /** Absent only for application services that act without a device. */
  readonly deviceId: string | undefined;
  readonly isGuest: boolean;
  readonly isAdmin: boolean;
  /** Suspended by an administrator: may do little but read. Client-Server API, "Account suspension". */
  readonly isSuspended?: boolean | undefined;
  /** Exempt from rate limits (application services, users whom an admin exempted). */
  readonly rateLimited: boolean;
  /** Application services may say when their events were sent (`ts`). Application Service API, "Timestamp massaging". */
  readonly mayChooseTimestamp?: boolean | undefined;
}
