import { unescape as lenientDecode } from 'node:querystring';

/** A form body. Of a repeated field the first value counts. */
export type Form = {
  fields: ReadonlyMap<string, string>;
  duplicated: boolean;
  /** It contains a `%` that starts no escape: Keycloak's decoder throws. */
  malformed: boolean;
};

const STRAY_PERCENT = /%(?![0-9a-f]{2})/i;
const decode = (text: string): string => lenientDecode(text.replaceAll('+', ' '));

/** The fields of an application/x-www-form-urlencoded body; none for another content type. */
export function parseForm(body: string, contentType: string): Form {
  const fields = new Map<string, string>();
  if (!contentType.startsWith('application/x-www-form-urlencoded')) {
    return { fields, duplicated: false, malformed: false };
  }
  let duplicated = false;
  for (const pair of body.split('&')) {
    if (pair === '') continue;
    const at = pair.indexOf('=');
    const name = decode(at < 0 ? pair : pair.slice(0, at));
    if (fields.has(name)) duplicated = true;
    else fields.set(name, at < 0 ? '' : decode(pair.slice(at + 1)));
  }
  return { fields, duplicated, malformed: STRAY_PERCENT.test(body) };
}
