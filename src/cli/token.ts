import type { Context } from './context.ts';
import { oneCredential } from './credentials.ts';
import { argumentsOf } from './kind.ts';
import type { Result } from './output.ts';
import { stateOf } from './state.ts';
import { tokenOf } from './token-in-target.ts';

/** `kubectl convercus token NAME`: the only command that prints something of a Secret. */
export async function token(
  context: Context,
  name: string,
  { header = false }: { readonly header?: boolean },
): Promise<Result> {
  const credential = await oneCredential(context, name);
  const found = await tokenOf(context, credential);
  if (context.host.isTerminal) {
    context.host.err('Warning: this is a secret. It stays in the scrollback of the terminal.\n');
  }
  const { expiresAt } = stateOf(credential, context.host.now());
  if (expiresAt !== undefined && expiresAt <= context.host.now()) {
    context.host.err(
      `Warning: it has expired; see why: kubectl convercus status ${argumentsOf(credential)}\n`,
    );
  }
  const value = found.token.reveal();
  const text = header ? `Authorization: Bearer ${value}` : value;
  return { data: { token: value, expiresAt: credential.status?.expiresAt }, text };
}
