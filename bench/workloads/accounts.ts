import { Crowd } from '../load/people.ts';
import { higher, type Workload } from '../workload.ts';

const IN_FLIGHT = 16;

/** Accounts and logins at the cost that passwords have in production. */
export const accounts: Workload = {
  id: 'accounts',
  title: 'Registrations and logins, production hash cost',
  limitSeconds: 90,
  server: { passwordCost: 'production' },
  figures: [
    { id: 'accounts.register.rate', title: `registrations, ${IN_FLIGHT} in flight`, unit: '/s', goal: higher(40, 100) },
    { id: 'accounts.login.rate', title: `logins, ${IN_FLIGHT} in flight`, unit: '/s', goal: higher(40, 100) },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, IN_FLIGHT);
    try {
      const names: string[] = [];
      const timed = async (label: string, limitMs: number, work: () => Promise<void>) => {
        const start = performance.now();
        let operations = 0;
        await Promise.all(
          Array.from({ length: IN_FLIGHT }, async () => {
            while (performance.now() - start < limitMs) {
              await work();
              operations += 1;
              if (operations % 10 === 0) progress(`${label}: ${operations}`);
            }
          }),
        );
        return { operations, seconds: (performance.now() - start) / 1000 };
      };
      const register = async (): Promise<void> => {
        const name = crowd.name();
        await crowd.register(name);
        names.push(name);
      };
      let next = 0;
      const logIn = async (): Promise<void> => {
        next += 1;
        await crowd.logIn(names[next % names.length]!);
      };
      await timed('first registrations', 1_000, register);
      const registering = await meter.during('register', () => timed('registrations', pick(10_000, 3_000), register));
      report('accounts.register.rate', registering.result.operations / registering.result.seconds, registering.cost);
      await timed('first logins', 1_000, logIn);
      const loggingIn = await meter.during('login', () => timed('logins', pick(10_000, 3_000), logIn));
      report('accounts.login.rate', loggingIn.result.operations / loggingIn.result.seconds, loggingIn.cost);
    } finally {
      crowd.close();
    }
  },
};
