import { Command, CommanderError } from 'commander';
import { kindAndPlaceOf } from '../lib/unexpected-error.ts';
import { Cluster, type ClusterOptions } from './cluster.ts';
import { addCommands } from './commands.ts';
import { completions } from './completion.ts';
import type { Context } from './context.ts';
import { CliError, EXIT, type ExitCode, usageError } from './exit-code.ts';
import type { Host } from './host.ts';
import type { CommonOptions } from './options.ts';
import { painter, printed, type Result } from './output.ts';
import { cliVersion } from './version.ts';

const HELP = `
Exit codes:
  0    done; of one credential: all is well
  1    a credential is not well, or a check has failed
  2    wrong arguments
  3    the cluster can't be asked, refuses, or has no such object
  4    --wait is over
  5    an unforeseen error
  130  ended by Ctrl-C, but for --watch and logs, which end so
`;

/** @param argv what follows the name of the program */
export async function runCli(argv: readonly string[], host: Host): Promise<ExitCode> {
  let code: ExitCode = EXIT.done;
  const program = new Command('kubectl convercus')
    .description(
      'Looks after ConvercusCredentials: Convercus API access tokens in Kubernetes Secrets.',
    )
    .version(cliVersion(), '--version', 'show the version')
    .addHelpText('after', HELP)
    .helpOption('-h, --help', 'show this help')
    .showHelpAfterError('(all commands and options: kubectl convercus --help)')
    .exitOverride()
    .configureOutput({ writeOut: host.out, writeErr: host.err });
  addCommands(
    program,
    async (options, use) => {
      code = await finish(options, host, use);
    },
    host.out,
  );
  try {
    if (argv[0] === '__complete') {
      const { signal } = host;
      const open = (flags: Pick<ClusterOptions, 'kubeconfig' | 'context'>) =>
        Cluster.open({ ...flags, version: cliVersion(), signal });
      host.out(await completions(program, argv.slice(1), open));
      return EXIT.done;
    }
    await program.parseAsync(argv, { from: 'user' });
    return code;
  } catch (error) {
    return codeOf(error, host);
  }
}

async function finish(
  options: CommonOptions,
  host: Host,
  use: (context: Context) => Promise<Result>,
): Promise<ExitCode> {
  const { kubeconfig, context: name, output = 'text' } = options;
  if (!['text', 'json', 'yaml'].includes(output)) {
    throw usageError(`There is no output format "${output}"; use json or yaml`);
  }
  const { signal } = host;
  await using cluster = Cluster.open({ kubeconfig, context: name, version: cliVersion(), signal });
  const isColoured = host.isTerminal && !host.env['NO_COLOR'] && options.color !== false;
  const result = await use({
    host,
    cluster,
    paint: painter(isColoured),
    format: output,
    // An empty one is none, as for kubectl
    namespace: options.namespace || cluster.namespace,
    isEverywhere: options.allNamespaces ?? false,
    operatorNamespace: options.operatorNamespace || undefined,
  });
  host.out(printed(result, output));
  return result.exitCode ?? EXIT.done;
}

function codeOf(error: unknown, host: Host): ExitCode {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  if (host.signal.aborted) return EXIT.interrupted;
  if (error instanceof CliError) {
    host.err(`${error.message}\n`);
    return error.exitCode;
  }
  const { kind, at } = kindAndPlaceOf(error);
  host.err(`An unforeseen error: ${kind} at ${at}\n`);
  return EXIT.unexpected;
}
