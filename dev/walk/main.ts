import { readdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import {
  filesBeyond,
  firstSync,
  functionsOf,
  refresh,
  tooManyRequests,
  type Walk,
} from './walks.ts';

const USAGE = `npm run walk -- [options]

Tells which files of src a first sync runs through, and a 429 until its next try: those with a named function that is
called. The operator runs in a process of its own, the API server and the identity provider are those of dev.

  --paths         print three paths, a line per file that is entered: a new credential, the refresh of a session, a 429
  --entry FILE    what Node runs; the folder it is in holds the sources; default: src/main.ts
`;

const { values } = parseArgs({
  options: {
    paths: { type: 'boolean', default: false },
    entry: { type: 'string', default: 'src/main.ts' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) process.stdout.write(USAGE);
else await main(resolve(values.entry));

async function main(entry: string): Promise<void> {
  const [sync, refused, refreshed] = await Promise.all([
    firstSync(entry),
    tooManyRequests(entry),
    values.paths ? refresh(entry) : undefined,
  ]);
  const fresh = filesBeyond(sync, sync.before);
  const further = filesBeyond(refused, functionsOf(sync));
  if (refreshed === undefined) {
    printFiles('Files with a function that a first sync calls, * not called before', sync, fresh);
    printFiles(
      'Files with a function that a 429 calls, * but a first sync does not',
      refused,
      further,
    );
  } else {
    printPath('A new credential', sync);
    printPath('The refresh of a session', refreshed);
    printPath('A 429 until the next try', refused);
  }
  const all = readdirSync(dirname(entry), { recursive: true, encoding: 'utf8' });
  const count = all.filter((file) => file.endsWith('.ts')).length;
  console.log(
    `First sync: ${sync.steps.length} of ${count} files, ${fresh.length} with a function that the idle operator has not called`,
  );
  console.log(
    `429 until the next try: ${refused.steps.length} files, ${further.length} with a function that a first sync does not call`,
  );
}

function printFiles(title: string, { steps }: Walk, marked: readonly string[]): void {
  console.log(title);
  for (const { file } of steps) console.log(`${marked.includes(file) ? '*' : ' '} ${file}`);
  console.log('');
}

function printPath(title: string, { steps }: Walk): void {
  console.log(`${title}: ${steps.length} files`);
  for (const { file, first } of steps) console.log(`  ${file} ${first}`);
  console.log('');
}
