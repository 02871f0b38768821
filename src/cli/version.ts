import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Put in by dev/bundle.ts: a plugin is one file, without a package.json beside it. */
declare const CLI_VERSION: string | undefined;

export const cliVersion = (): string =>
  typeof CLI_VERSION === 'string'
    ? CLI_VERSION
    : JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')).version;
