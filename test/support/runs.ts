/** How often a property runs: `count` times in `npm test`, a tenth of it in `npm run test:unit`. */
export const runs = (count: number): number =>
  Math.ceil(count * Number(process.env['RUNS_SHARE'] ?? 1));
