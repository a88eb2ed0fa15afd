import type { Method } from './method.ts';
import { roomMethods } from './room-methods.ts';
import { userMethods } from './user-methods.ts';

/** Every method by its name, but `auth`, which comes before all of them. */
export const METHODS: ReadonlyMap<string, Method> = new Map(
  [...userMethods, ...roomMethods].map((method) => [method.name, method]),
);
