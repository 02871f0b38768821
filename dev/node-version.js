/**
 * The first command of the scripts in package.json. A Node that is too old can't read TypeScript, and would say so with
 * a stack trace; npm runs no `pre` scripts here (`ignore-scripts`).
 */
import { readFileSync } from 'node:fs';

const { engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const needed = engines.node.replace('>=', '');
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const [neededMajor = 0, neededMinor = 0] = needed.split('.').map(Number);

if (major < neededMajor || (major === neededMajor && minor < neededMinor)) {
  console.error(
    `Node ${needed} or newer is needed, and this one is ${process.versions.node}: run npm ci, ` +
      'which brings one, or install it from https://nodejs.org.',
  );
  process.exit(1);
}
