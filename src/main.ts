import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Everything below is compiled, and its types are taken out, once for all starts. In a folder of its own, where only those can write who
// can change the code as well. Where it cannot be written, it is done anew each time.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/tsudoi', import.meta.url)));

const { runCommand } = await import('#src/app/commands.ts');
process.exit(await runCommand(process.argv.slice(2)));
