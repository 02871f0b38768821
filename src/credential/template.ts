/**
 * Substitution in the values of `spec.target.data`: no functions, no nesting. `{{name}}`, and for authors of Helm charts,
 * where braces are Helm's own, `$(name)` as in the arguments of a container: `$$(name)` is written as `$(name)`, and an
 * unknown name stays as it is, because it may be meant for a shell.
 */

export const PLACEHOLDERS = [
  'access_token',
  'id_token',
  'token_type',
  'scope',
  'issued_at',
  'expires_at',
  'expires_at_unix',
  'program',
  'environment',
  'realm',
  'api_url',
] as const;

export type Placeholder = (typeof PLACEHOLDERS)[number];

const PLACEHOLDER = /\{\{([^{}]*)\}\}|\$(\$?)\(([^(){}]*)\)/g;

const isPlaceholder = (name: string): name is Placeholder =>
  (PLACEHOLDERS as readonly string[]).includes(name);

/** The names between double braces that are no placeholders. */
export function unknownPlaceholders(template: string): string[] {
  return [...template.matchAll(PLACEHOLDER)]
    .flatMap(([, braced]) => (braced === undefined ? [] : [braced.trim()]))
    .filter((name) => !isPlaceholder(name));
}

/** As Helm and external-secrets write it: a field, a variable or a function. */
export const isGoTemplate = (name: string): boolean =>
  /^[-.$"`]|[|\s]|^(if|else|end|range|with|define|block|template|include)$/.test(name);

/** The template with every placeholder replaced; unknown ones stay as they are (they were refused before). */
export function fill(template: string, valueOf: (name: Placeholder) => string): string {
  return template.replace(PLACEHOLDER, (whole: string, ...found: (string | undefined)[]) => {
    const [braced, escape, parenthesised = ''] = found;
    if (escape === '$') return whole.slice(1);
    const name = braced?.trim() ?? parenthesised;
    return isPlaceholder(name) ? valueOf(name) : whole;
  });
}

export function uses(template: string, name: Placeholder): boolean {
  let isUsed = false;
  fill(template, (each) => {
    isUsed ||= each === name;
    return '';
  });
  return isUsed;
}

/** Length in bytes of the filled template, without filling it. */
export function filledSize(template: string, sizeOf: (name: Placeholder) => number): number {
  let size = 0;
  const rest = fill(template, (name) => {
    size += sizeOf(name);
    return '';
  });
  return size + Buffer.byteLength(rest);
}
