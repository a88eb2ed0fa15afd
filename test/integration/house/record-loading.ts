import { appendFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

/** Imported before everything else (`node --import`): writes the URL of each module that is loaded into the file TEST_LOADED_FILE. */
const file = process.env['TEST_LOADED_FILE'] ?? '';

registerHooks({
  load(url, context, next) {
    appendFileSync(file, `${url}\n`);
    return next(url, context);
  },
});
