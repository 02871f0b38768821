import type { Failure } from './failures.ts';
import type { Picture } from './picture.ts';

const HEAD = `# What failures look like

Ten failures as \`kubectl\`, [\`kubectl convercus\`](cli.md), the log and the metrics show them, made on a real API server. Written by \`npm run failures\`; times, ids and hosts are replaced, and \`describe\` is shown from the status on. What each reason means: [grants.md](grants.md). What to do: [troubleshooting.md](troubleshooting.md).

Each is a ConvercusCredential \`loyalty\` in a namespace of its own. The log is at level \`info\`.
`;

const block = (text: string, language = 'text'): string => `\`\`\`${language}\n${text}\n\`\`\`\n`;

const command = (words: string, output: string): string =>
  block(`$ ${words}\n${output}`, 'console');

/** `kubectl describe` from the status on: what precedes is what the user has written. */
const relevant = (description: string): string =>
  description.replace(/^Labels:.*?(?=^Status:)/ms, '…\n');

/** docs/failures.md */
export function page(pictures: readonly (readonly [Failure, Picture])[]): string {
  const contents = pictures.map(
    ([{ title, reason }]) => `| [${title}](#${anchorOf(title)}) | \`${reason}\` |`,
  );
  const sections = pictures.map(([failure, picture]) => section(failure, picture));
  return [HEAD, '| failure | reason |', '|---|---|', ...contents, '', ...sections].join('\n');
}

const anchorOf = (title: string): string =>
  title
    .toLowerCase()
    .replaceAll(/[^a-z ]/g, '')
    .replaceAll(' ', '-');

const section = ({ title, story }: Failure, picture: Picture): string =>
  [
    `## ${title}\n`,
    `${story}\n`,
    command('kubectl get convercuscredential', picture.get),
    command('kubectl describe convercuscredential loyalty', relevant(picture.describe)),
    command('kubectl convercus status loyalty', picture.status),
    command('kubectl convercus doctor loyalty', picture.doctor),
    'Log:\n',
    block(picture.log || '(nothing at level info)'),
    'Metrics:\n',
    block(picture.metrics),
  ].join('\n');
