/** Substitution of `{{name}}` in the values of `spec.target.data`: no functions, no nesting. */

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

const PLACEHOLDER = /\{\{([^{}]*)\}\}/g;

const isPlaceholder = (name: string): name is Placeholder =>
  (PLACEHOLDERS as readonly string[]).includes(name);

/** The names between double braces that are no placeholders. */
export function unknownPlaceholders(template: string): string[] {
  return [...template.matchAll(PLACEHOLDER)]
    .map(([, inside = '']) => inside.trim())
    .filter((name) => !isPlaceholder(name));
}

/** The template with every placeholder replaced; unknown ones stay as they are (they were refused before). */
export function fill(template: string, valueOf: (name: Placeholder) => string): string {
  return template.replace(PLACEHOLDER, (whole, inside: string) => {
    const name = inside.trim();
    return isPlaceholder(name) ? valueOf(name) : whole;
  });
}

export const uses = (template: string, name: Placeholder): boolean =>
  [...template.matchAll(PLACEHOLDER)].some(([, inside = '']) => inside.trim() === name);
