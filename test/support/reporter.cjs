'use strict';
const Mocha = require('mocha');

/**
 * Mocha's "spec", then the names of what was skipped and of what passed only when it was repeated (with `--retries`), with its first
 * error, then the one line that CI reads: `N passed, N failed, N skipped`.
 */
module.exports = class Summary extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const skipped = [];
    runner.on('pending', (test) => skipped.push(test.fullTitle()));
    this.skipped = skipped;
    const unsteady = [];
    runner.on('retry', (test, err) => unsteady.push({ title: test.fullTitle(), err }));
    this.unsteady = unsteady;
    for (const name of ['fail', 'retry'])
      runner.on(name, (test, err) => {
        if (err.code === 'ERR_MOCHA_TIMEOUT') process.emit('test out of time', test.fullTitle());
      });
  }

  done(failures, finished) {
    for (const title of this.skipped) console.log(`skipped: ${title}`);
    for (const { title, err } of this.unsteady) console.log(`unsteady: ${title}\n${err.stack ?? err}`);
    const { passes, pending } = this.stats;
    // Failed hooks count as well: `failures` is what decides the exit code.
    console.log(`${passes} passed, ${failures} failed, ${pending} skipped`);
    finished(failures);
  }
};
