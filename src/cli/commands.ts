import { type Command, Option } from 'commander';
import type { Ms } from '../lib/time.ts';
import { checkApi } from './check-api.ts';
import { completionScript } from './completion.ts';
import { consumers } from './consumers.ts';
import { type CreateOptions, create } from './create.ts';
import { doctor } from './doctor/doctor.ts';
import { usageError } from './exit-code.ts';
import { inspect } from './inspect.ts';
import { list } from './list.ts';
import { logs } from './logs.ts';
import { migrate } from './migrate/migrate.ts';
import type { CommonOptions, WithContext } from './options.ts';
import { parseDuration } from './output.ts';
import { renew } from './renew.ts';
import { report } from './report.ts';
import { status } from './status.ts';
import { setSuspend } from './suspend.ts';
import { token } from './token.ts';
import { watched } from './watch.ts';

/** Adds a command with the options that all have. */
const command = (program: Command, usage: string, description: string): Command =>
  program
    .command(usage)
    .description(description)
    .option('-n, --namespace <name>', "namespace; default: that of the kubeconfig's context")
    .option('-o, --output <format>', 'json or yaml')
    .option('--context <name>', 'context of the kubeconfig')
    .option('--kubeconfig <file>', 'kubeconfig; default: KUBECONFIG, else ~/.kube/config')
    .option('--operator-namespace <name>', 'where the operator runs; default: looked for')
    .option('--no-color', 'no colours on a terminal either')
    .helpOption('-h, --help', 'show this help')
    .allowExcessArguments(false);

const ALL = ['-A, --all-namespaces', 'of the whole cluster'] as const;
const SELECTOR = ['-l, --selector <labels>', 'those with these labels'] as const;

export function addCommands(
  program: Command,
  run: WithContext,
  print: (text: string) => void,
): void {
  addReading(program, run);
  addChanging(program, run);
  addTokens(program, run);
  addDiagnosis(program, run);
  addMaking(program, run, print);
}

type Options<T = object> = CommonOptions & T;

function addReading(program: Command, run: WithContext): void {
  command(program, 'list [type]', 'ConvercusCredentials in a table, or those of type cconvcred')
    .option(...ALL)
    .option(...SELECTOR)
    .option('--not-ready', 'only those without a valid token')
    .option(
      '--expiring <time>',
      'only those whose token expires within this time, such as 5m',
      time,
    )
    .action(
      (
        type: string | undefined,
        options: Options<{ notReady?: boolean; expiring?: Ms; selector?: string }>,
      ) => run(options, (context) => list(context, { ...options, type })),
    );
  command(
    program,
    'status [name]',
    'token, renewal, source, target, consumers and events of one credential; a table without a name',
  )
    .option(...ALL)
    .option('-w, --watch', 'show it again every 2 seconds until Ctrl-C')
    .action((name: string | undefined, options: Options<{ watch?: boolean }>) =>
      run(options, (context) =>
        options.watch === true
          ? watched(context, () => status(context, name))
          : status(context, name),
      ),
    );
  command(
    program,
    'consumers <name>',
    'pods that use the target, and which of them never see a new token',
  ).action((name: string, options: Options) => run(options, (context) => consumers(context, name)));
}

function addChanging(program: Command, run: WithContext): void {
  command(program, 'renew [names...]', 'renew tokens now')
    .option(...ALL)
    .option(...SELECTOR)
    .option('--wait [time]', 'wait for the result, 1m by default', waitTime)
    .option('-y, --yes', 'do not ask')
    .action(
      (names: string[], options: Options<{ wait?: Ms | true; yes?: boolean; selector?: string }>) =>
        run(options, (context) => {
          const { wait, ...rest } = options;
          const waits = wait === undefined ? {} : { wait: wait === true ? DEFAULT_WAIT : wait };
          return renew(context, { ...rest, ...waits, names });
        }),
    );
  command(program, 'suspend [names...]', 'stop renewals')
    .option(...ALL)
    .option(...SELECTOR)
    .option('-y, --yes', 'do not ask')
    .action(
      (
        names: string[],
        { selector, yes, ...options }: Options<{ selector?: string; yes?: boolean }>,
      ) => run(options, (context) => setSuspend(context, { names, selector, yes }, true)),
    );
  command(program, 'resume [names...]', 'go on with renewals')
    .option(...ALL)
    .option(...SELECTOR)
    .action((names: string[], { selector, ...options }: Options<{ selector?: string }>) =>
      run(options, (context) => setSuspend(context, { names, selector }, false)),
    );
}

function addTokens(program: Command, run: WithContext): void {
  command(program, 'inspect <name>', 'what the token says of itself, never the token').action(
    (name: string, options: Options) => run(options, (context) => inspect(context, name)),
  );
  command(program, 'token <name>', 'print the token; needs the right to get Secrets')
    .option('--header', 'as a header: Authorization: Bearer …')
    .action((name: string, options: Options<{ header?: boolean }>) =>
      run(options, (context) => token(context, name, options)),
    );
}

function addDiagnosis(program: Command, run: WithContext): void {
  command(program, 'doctor <name>', 'check all from the CRD to the pods')
    .option(
      '--from <place>',
      'where DNS, TLS and login are checked: here or operator (kubectl exec)',
      'here',
    )
    .option('--login', 'present user name and password as well; a wrong one may lock the account')
    .option('--no-login', 'request no token')
    .addOption(new Option('--inside <file>').hideHelp())
    .action((name: string, options: Options<{ from?: string; login?: boolean; inside?: string }>) =>
      run(options, (context) => doctor(context, name, options)),
    );
  command(program, 'logs [name]', 'log of the leading operator, of one credential if named')
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('--tail <lines>', 'lines from the end that are looked through', '1000')
    .action((name: string | undefined, options: Options<{ follow?: boolean; tail?: string }>) =>
      run(options, (context) => logs(context, name, options)),
    );
  command(program, 'check <what>', 'check api: whether the CRD is served and the operator runs')
    .option('--wait <time>', 'try again until all is well, such as 2m', time)
    .action((what: string, options: Options<{ wait?: Ms }>) =>
      run(options, (context) => checkApi(context, what, options.wait)),
    );
  command(program, 'report', 'a folder to send to people who help: no data of Secrets')
    .option(...ALL)
    .option('--directory <folder>', 'a folder that does not exist yet')
    .option('-y, --yes', 'do not ask')
    .action((options: Options<{ directory?: string; yes?: boolean }>) =>
      run(options, (context) => report(context, options)),
    );
}

function addMaking(program: Command, run: WithContext, print: (text: string) => void): void {
  command(
    program,
    'create [name]',
    'a ConvercusCredential as YAML, or with its Secret in the cluster',
  )
    .option('--program <name>', 'name of the loyalty program, such as ABC')
    .option('--environment <name>', 'staging, production or another one')
    .option('--grant <type>', 'client_credentials, password or legacy_login')
    .option('--client-id <id>', 'default: machine-2-machine')
    .option('--scope <scopes>', 'scopes, separated by spaces')
    .option('--realm <name>', 'if it does not follow from program and environment')
    .option('--secret <name>', 'Secret with the client secret; default: convercus- and the program')
    .option(
      '--apply',
      'create both in the cluster; the client secret is read from the terminal or standard input',
    )
    .action((name: string | undefined, options: Options<CreateOptions>) =>
      run(options, (context) => create(context, name, options)),
    );
  command(
    program,
    'migrate <kind> <name>',
    'what replaces a cronjob or external-secret that gets tokens',
  ).action((kind: string, name: string, options: Options) =>
    run(options, (context) => migrate(context, kind, name)),
  );
  program
    .command('completion <shell>')
    .description('completion for kubectl, bash, zsh or fish')
    .action((shell: string) => print(completionScript(shell)));
}

const DEFAULT_WAIT: Ms = 60_000;

/** It may be left out, so a name behind `--wait` is taken for it. */
function waitTime(text: string): Ms {
  const found = parseDuration(text);
  if (found !== undefined) return found;
  throw usageError(`"${text}" is no time; --wait takes one such as 1m, so write names before it`);
}

function time(text: string): Ms {
  const found = parseDuration(text);
  if (found !== undefined) return found;
  throw usageError(`"${text}" is no time; write one such as 30s, 5m or 1h30m`);
}
