/**
 * `npm run failures`: makes ten failures on a real kube-apiserver, and writes what kubectl, kubectl convercus, the log
 * and the metrics show into docs/failures.md; `--print` prints it. Takes about a minute.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { showInstallation } from '../testbed/installed.ts';
import { operatorConfig } from '../testbed/operator.ts';
import { Testbed } from '../testbed/testbed.ts';
import { FAILURES, type Failure } from './failures.ts';
import { page } from './page.ts';
import { type Picture, takePicture } from './picture.ts';

const FILE = join(import.meta.dirname, '../../docs/failures.md');

const log = { level: 'info' };
await using testbed = await Testbed.start({ operators: [{ log }] });
await showInstallation(testbed, operatorConfig(testbed.provider.url, { log }));
const pictures: [Failure, Picture][] = [];
for (const failure of FAILURES) {
  console.error(failure.title);
  pictures.push([failure, await takePicture(failure, testbed)]);
}
const text = page(pictures);
if (process.argv.includes('--print')) console.log(text);
else await writeFile(FILE, text);
