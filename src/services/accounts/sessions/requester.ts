import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';

/** The user and device that an application service asserts. Ignored in requests of others. Application Service API, "Identity assertion". */
export interface Asserted {
  /** Left out: as its sender. */
  readonly userId?: string | undefined;
  readonly deviceId?: string | undefined;
}

/** The application service that sends a request in a user's name. */
export interface AppserviceCaller {
  readonly service: ApplicationService;
  /** Whether the user belongs to the service: its sender, created by it, or of an exclusive namespace. Others have an owner of their own. */
  readonly isOwnUser: boolean;
}

/** The sender of a request, by the access token. */
export interface Requester {
  /** Full user id. */
  readonly userId: string;
  /** Absent for application services that act without a device, and for administrators who act as the user. */
  readonly deviceId: string | undefined;
  readonly isGuest: boolean;
  readonly isAdmin: boolean;
  /** Suspended by an administrator: may do little but read. Client-Server API, "Account suspension". */
  readonly isSuspended?: boolean | undefined;
  /** The session in which an administrator acts as the user. */
  readonly adminLogin?: { readonly id: string; readonly admin: string } | undefined;
  /** Exempt from rate limits (application services, users that an administrator exempted). */
  readonly rateLimited: boolean;
  readonly appservice?: AppserviceCaller | undefined;
}

/** What distinguishes senders that act as the same user without a device. */
export type SendingClient = Pick<Requester, 'deviceId' | 'adminLogin'> & {
  readonly appservice?: { readonly service: Pick<ApplicationService, 'id'> } | undefined;
};

/**
 * Names a sender without a device, so that each has transaction ids of its own: an application service, or an administrator who acts as the user.
 * Undefined for devices, which have ids. Client-Server API, "Transaction identifiers".
 */
export const deviceless = ({ adminLogin, appservice, deviceId }: SendingClient): string | undefined => {
  if (deviceId !== undefined) return undefined;
  if (adminLogin !== undefined) return `login ${adminLogin.id}`;
  return appservice === undefined ? undefined : `service ${appservice.service.id}`;
};
