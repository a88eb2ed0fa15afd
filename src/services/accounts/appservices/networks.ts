/** The name by which the room directory is asked for the rooms that a service lists for a network: unique on this server. */
export const instanceIdOf = (appserviceId: string, networkId: string): string => `${appserviceId}|${networkId}`;
