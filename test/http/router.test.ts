import KoaRouter from '@koa/router';
import { expect } from 'chai';
import fc from 'fast-check';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import type { Method } from '#src/http/endpoint.ts';
import { Router } from '#src/http/router.ts';

const METHODS: readonly Method[] = ['GET', 'POST', 'PUT', 'DELETE'];
const declared = ENDPOINTS.flatMap(({ aliases, method, path }) =>
  [path, ...(aliases ?? [])].map((template) => ({ method, template, name: `${method} ${template}` })),
);

/** How `@koa/router` writes a template of ours. */
const koaPath = (template: string): string => template.replace(/\{([A-Za-z0-9_]+)\}/g, ':$1');
const fixedSegments = (template: string): number => template.split('/').filter((part) => !part.startsWith('{')).length;

describe('the router', () => {
  const ours = new Router<string>();
  const koa = new KoaRouter({ strict: true, sensitive: true });
  // @koa/router takes the first that matches; ours the most specific.
  for (const { method, name, template } of declared.toSorted(
    (a, b) => fixedSegments(b.template) - fixedSegments(a.template),
  )) {
    koa.register(koaPath(template), [method], () => undefined, { name });
  }
  for (const { method, name, template } of declared) ours.add(method, template, name);

  it('finds what @koa/router finds among all endpoints of this server, whatever stands for the parameters', () => {
    const segment = fc.stringMatching(/^[A-Za-z0-9!$@#:._~%-]{1,12}$/).filter((text) => text !== '.' && text !== '..');
    fc.assert(
      fc.property(
        fc.constantFrom(...declared),
        fc.constantFrom(...METHODS),
        fc.array(segment, { minLength: 6, maxLength: 6 }),
        (one, method, fillers) => {
          let at = 0;
          const path = one.template.replace(/\{[^}]+\}/g, () => fillers[at++ % fillers.length] ?? 'x');
          const found = ours.match(method, path);
          const theirs = koa.match(path, method).pathAndMethod[0];
          if (found.kind !== 'found') {
            expect(theirs, `${method} ${path}`).to.equal(undefined);
            return;
          }
          expect(theirs?.name, `${method} ${path}`).to.equal(found.target);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('tells a wrong method from an unknown path, and keeps an encoded slash inside its segment', () => {
    const router = new Router<string>();
    router.add('GET', '/rooms/{roomId}/state', 'state');
    expect(router.match('GET', '/rooms/a%2Fb/state')).to.deep.include({ kind: 'found', values: ['a%2Fb'] });
    expect(router.match('PUT', '/rooms/a/state')).to.deep.equal({ kind: 'wrongMethod', allow: ['GET'] });
    expect(router.match('GET', '/rooms/a/state/')).to.deep.equal({ kind: 'unknown' });
    expect(router.match('GET', '/rooms//state')).to.deep.equal({ kind: 'unknown' });
  });
});
