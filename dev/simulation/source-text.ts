import type { ModuleSource } from 'node:module';

/** The source of a module, from the argument of a load hook. */
export function sourceText(source: ModuleSource | undefined | null): string {
  if (typeof source === 'string') return source;
  return source === undefined || source === null ? '' : new TextDecoder().decode(source);
}
