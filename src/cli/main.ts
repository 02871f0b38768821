import { runCli } from './program.ts';
import { systemHost } from './system-host.ts';

process.exitCode = await runCli(process.argv.slice(2), systemHost());
