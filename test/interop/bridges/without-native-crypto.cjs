// What the SDK encrypts with is a native library that no registry has. Nothing is encrypted here: whatever it is asked for is nothing.
const Module = require('node:module');

const load = Module._load;
const nothing = new Proxy(function Nothing() {}, {
  get: (target, name) =>
    name in target ? target[name] : typeof name === 'string' && /^[A-Z]/.test(name) ? nothing : undefined,
});
Module._load = function (request, ...rest) {
  return request === '@matrix-org/matrix-sdk-crypto-nodejs' ? nothing : load.call(this, request, ...rest);
};
