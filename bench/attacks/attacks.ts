import type { Attack } from './battlefield.ts';
import { bytesInFlight, turnsOfTheLoop } from './bytes.ts';
import { costs, textsAndOutages } from './costs.ts';
import { federation } from './federation.ts';
import { kept, pages } from './kept.ts';
import { logins } from './logins.ts';
import { HostileServices, outside } from './outside.ts';
import { reach } from './reach.ts';
import { sharedRooms } from './shared-rooms.ts';

/** What the operator's server is connected with while it is attacked. */
export const neighbour = new HostileServices();

/** By number of the fault, or else by the mechanism that they try. */
export const ATTACKS: readonly Attack[] = [
  ...bytesInFlight,
  ...turnsOfTheLoop,
  ...costs,
  ...kept,
  ...pages,
  ...logins,
  ...textsAndOutages,
  ...reach,
  ...federation,
  ...outside(neighbour),
  ...sharedRooms,
].toSorted((a, b) => (a.id < b.id ? -1 : 1));
