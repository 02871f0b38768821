import type { Command } from 'commander';
import {
  CLUSTER_CREDENTIALS,
  CREDENTIALS,
  NAMESPACES,
  type Resource,
} from '../kubernetes/resources.ts';
import { textAt } from '../lib/json.ts';
import type { Cluster, ClusterOptions } from './cluster.ts';
import { usageError } from './exit-code.ts';

/** Tells the shell to complete no files (cobra, ShellCompDirectiveNoFileComp), as kubectl wants it of plugins. */
const NO_FILES = ':4';

const FIXED: Readonly<Record<string, readonly string[]>> = {
  '-o': ['json', 'yaml'],
  '--output': ['json', 'yaml'],
  '--from': ['here', 'operator'],
  '--grant': ['client_credentials', 'password', 'legacy_login'],
};

const ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  check: ['api'],
  completion: ['kubectl', 'bash', 'zsh', 'fish'],
  list: ['convcred', 'cconvcred'],
  migrate: ['cronjob', 'external-secret'],
};

const TAKE_NAMES = /^(status|consumers|renew|suspend|resume|inspect|token|doctor|logs)$/;

type Open = (flags: Pick<ClusterOptions, 'kubeconfig' | 'context'>) => Cluster;

/** What may stand in place of the last word, one a line. @param words what was typed, the last one in part */
export async function completions(
  program: Command,
  words: readonly string[],
  open: Open,
): Promise<string> {
  const typed = words.at(-1) ?? '';
  const found = await candidates(program, words, open).catch(() => []);
  return [...found.filter((each) => each.startsWith(typed)), NO_FILES, ''].join('\n');
}

async function candidates(
  program: Command,
  words: readonly string[],
  open: Open,
): Promise<readonly string[]> {
  const [first = '', ...rest] = words;
  if (rest.length === 0) return program.commands.map((each) => each.name());
  const fixed = FIXED[words.at(-2) ?? ''];
  if (fixed !== undefined) return fixed;
  if (!isFlag(words.at(-1))) return names(words, open);
  return optionsOf(program.commands.find((each) => each.name() === first));
}

function names(words: readonly string[], open: Open): Promise<string[]> | readonly string[] {
  const [first = '', ...rest] = words;
  const [kubeconfig, context] = [after(words, '--kubeconfig'), after(words, '--context')];
  const opened = () => open({ kubeconfig, context });
  if (/^(-n|--namespace)$/.test(words.at(-2) ?? '')) return namesOf(opened, NAMESPACES);
  if (!TAKE_NAMES.test(first)) return rest.length === 1 ? (ARGUMENTS[first] ?? []) : [];
  return credentialNames(opened, words);
}

/** Of the cluster's, when the type is written before. */
async function credentialNames(open: () => Cluster, words: readonly string[]): Promise<string[]> {
  const type = /^(?:cconvcred|clusterconvercuscredentials?)\//.exec(words.at(-1) ?? '')?.[0];
  if (type === undefined) {
    return namesOf(open, CREDENTIALS, after(words, '-n') ?? after(words, '--namespace'));
  }
  const names = await namesOf(open, CLUSTER_CREDENTIALS);
  return names.map((name) => type + name);
}

const isFlag = (word = ''): boolean => word.startsWith('-');

function after(words: readonly string[], flag: string): string | undefined {
  const at = words.indexOf(flag);
  return at < 0 ? undefined : words[at + 1];
}

const optionsOf = (command: Command | undefined): string[] =>
  (command?.options ?? []).filter(({ hidden }) => !hidden).map(({ long }) => long ?? '');

async function namesOf(
  open: () => Cluster,
  resource: Resource,
  namespace?: string,
): Promise<string[]> {
  await using cluster = open();
  const scope = resource === CREDENTIALS ? (namespace ?? cluster.namespace) : undefined;
  const objects = await cluster.list(resource, scope);
  return objects.map((object) => textAt(object, 'metadata', 'name') ?? '');
}

const SCRIPTS: Readonly<Record<string, string>> = {
  kubectl: `#!/bin/sh
# Save it as kubectl_complete-convercus, executable, in a folder of PATH; kubectl's own completion calls it.
exec kubectl convercus __complete "$@"
`,
  bash: `_kubectl_convercus() {
  mapfile -t COMPREPLY < <(kubectl-convercus __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | grep -v '^:')
}
complete -F _kubectl_convercus kubectl-convercus
`,
  zsh: `_kubectl_convercus() {
  compadd -- \${(f)"$(kubectl-convercus __complete "\${words[@]:1:$((CURRENT-1))}" 2>/dev/null | grep -v '^:')"}
}
compdef _kubectl_convercus kubectl-convercus
`,
  fish: `complete -c kubectl-convercus -f -a '(kubectl-convercus __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null | string match -v ":*")'
`,
};

export function completionScript(shell: string): string {
  const script = SCRIPTS[shell];
  if (script !== undefined) return script;
  throw usageError(`There is no completion for "${shell}"; use kubectl, bash, zsh or fish`);
}
