import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import type { Endpoint } from '#src/http/endpoint.ts';
import { pathsOf } from '#src/http/operation.ts';
import { Specification, specificationFolder } from '#test/support/specification.ts';
import { TestServer } from './serve.ts';

const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH'];

/** What the paths of a template look like. */
const shapeOf = (template: string): RegExp =>
  new RegExp(`^${template.replaceAll(/[.$]/g, '\\$&').replaceAll(/\{\w+\}/g, '[^/]+')}$`);

describe('every path that is served', () => {
  const server = new TestServer();
  before(() =>
    server.start(ENDPOINTS, {} as never, {
      authenticateServer: async () => ({ serverName: 'other.test' }),
      authenticateAppservice: async () => ({ id: 'irc' }),
    }),
  );
  after(() => server.stop());

  const templates = ENDPOINTS.flatMap((endpoint) =>
    pathsOf(endpoint).map((template) => ({ template, method: endpoint.method, shape: shapeOf(template) })),
  );
  const served = new Map<string, Set<string>>();
  for (const { template } of templates) {
    const path = template.replaceAll(/\{\w+\}/g, 'x');
    // A path of written segments may be one of another template's, too: `/media/protect/x` and `/media/{serverName}/{mediaId}`.
    const methods = templates.flatMap(({ method, shape }) => (shape.test(path) ? method : []));
    served.set(path, new Set(methods));
  }

  it('answers 405 M_UNRECOGNIZED to the methods that it is not served for, and says which it is served for', async () => {
    expect(served.size).to.be.greaterThan(200);
    for (const [path, methods] of served)
      for (const method of METHODS) {
        if (methods.has(method)) continue;
        const { status, json, headers } = await server.ask(method, path);
        expect([status, json['errcode']], `${method} ${path}`).to.deep.equal([405, 'M_UNRECOGNIZED']);
        expect(headers.allow?.split(', '), path).to.include.members([...methods]);
        if (/^\/(_matrix|_synapse|\.well-known)\//.test(path))
          expect(headers['access-control-allow-origin'], path).to.equal('*');
      }
  });
  it('answers 404 M_UNRECOGNIZED below and beside it, with the headers that let browsers read that', async () => {
    for (const namespace of new Set([...served.keys()].map((path) => path.split('/').slice(0, 3).join('/'))))
      for (const path of [`${namespace}/nope/nope/nope/nope`, `${namespace}x`])
        for (const method of METHODS) {
          const { status, json, headers } = await server.ask(method, path);
          expect([status, json['errcode']], `${method} ${path}`).to.deep.equal([404, 'M_UNRECOGNIZED']);
          if (/^\/(_matrix|_synapse|\.well-known)\//.test(path))
            expect(headers['access-control-allow-origin'], path).to.equal('*');
        }
  });
});

describe('endpoints of the specification', function () {
  before(function () {
    if (specificationFolder() === undefined) this.skip();
  });

  it('have its operation ids', () => {
    const specification = new Specification(specificationFolder() as string);
    const different = ENDPOINTS.flatMap(({ method, path, operationId }) => {
      const known = specification.find(method, path.replaceAll(/\{\w+\}/g, 'x'))?.operationId;
      // Two of the specification on one path.
      if (known === undefined || known === operationId || operationId === 'peekEvents') return [];
      return [`${operationId} is ${known}`];
    });
    expect(different).to.deep.equal([]);
  });
  it('lie in groups that are named as its files', async () => {
    const specification = new Specification(specificationFolder() as string);
    const source = fileURLToPath(new URL('../../src/http', import.meta.url));
    const misplaced: string[] = [];
    for (const api of ['client-server', 'server-server', 'application-service', 'identity']) {
      const files = existsSync(join(source, api)) ? readdirSync(join(source, api)) : [];
      for (const file of files.filter((name) => name.endsWith('.ts'))) {
        const module = (await import(pathToFileURL(join(source, api, file)).href)) as Record<string, unknown>;
        // Beside its endpoints a file exports the bounds of their bodies.
        const endpoints = Object.values(module).filter((value): value is readonly Endpoint[] => Array.isArray(value));
        for (const { method, path, operationId } of endpoints.flat()) {
          const known = specification.find(method, path.replaceAll(/\{\w+\}/g, 'x'));
          if (known === undefined || known.operationId !== operationId) continue;
          const place = basename(known.at.file, '.yaml');
          if (basename(file, '.ts') !== place)
            misplaced.push(`${operationId} is in ${api}/${file}, not in ${place}.ts`);
        }
      }
    }
    expect(misplaced).to.deep.equal([]);
  });
});
