import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';

/** As whom an application service wants to act. For requests of others it means nothing. Application Service API, "Identity assertion". */
export interface Asserted {
  /** Left out: as its sender. */
  readonly userId?: string | undefined;
  readonly deviceId?: string | undefined;
}

/** The application service that sends a request in a user's name. */
export interface AppserviceCaller {
  readonly service: ApplicationService;
  /** Whether the user is there for the service: its sender, made by it, or of an exclusive namespace. Others have an owner of their own. */
  readonly isOwnUser: boolean;
}

/** Who sends a request, as the access token says. */
export interface Requester {
  /** Full user id. */
  readonly userId: string;
  /** Absent for application services that act without a device, and for administrators who act as the user. */
  readonly deviceId: string | undefined;
  readonly isGuest: boolean;
  readonly isAdmin: boolean;
  /** Suspended by an administrator: may do little but read. Client-Server API, "Account suspension". */
  readonly isSuspended?: boolean | undefined;
  /** The session in which an administrator acts as the user: not the user's own doing. */
  readonly adminLogin?: { readonly id: string; readonly admin: string } | undefined;
  /** Exempt from rate limits (application services, users whom an admin exempted). */
  readonly rateLimited: boolean;
  readonly appservice?: AppserviceCaller | undefined;
}

/** What is looked at of who sends, to tell those apart who act as the same user without a device. */
export type SendingClient = Pick<Requester, 'deviceId' | 'adminLogin'> & {
  readonly appservice?: { readonly service: Pick<ApplicationService, 'id'> } | undefined;
};

/**
 * Names who sends without a device, so that transaction ids are each one's own: an application service, or an administrator who acts as the user.
 * Undefined for devices, whose ids say it. Client-Server API, "Transaction identifiers".
 */
export const deviceless = ({ adminLogin, appservice, deviceId }: SendingClient): string | undefined => {
  if (deviceId !== undefined) return undefined;
  if (adminLogin !== undefined) return `login ${adminLogin.id}`;
  return appservice === undefined ? undefined : `service ${appservice.service.id}`;
};
