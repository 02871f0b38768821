import { leaks } from '../testbed/leaks.ts';
import { atLeast, exactly, type Row, row } from './report.ts';

export function leakRows(places: ReadonlyMap<string, string>, secrets: readonly string[]): Row[] {
  const found = leaks(places, secrets);
  const empty = [...places].filter(([, text]) => text.length < 100);
  const where = [...new Set(found.map(({ place }) => place))].join(', ');
  return [
    row(`secrets found in open places${where && ` (${where})`}`, found.length, exactly(0)),
    row('secrets looked for', secrets.length, atLeast(1)),
    row('open places that could not be read', empty.length, exactly(0)),
  ];
}
