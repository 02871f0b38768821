import { unescape as lenientDecode } from 'node:querystring';

/** A form body. A field that was sent twice keeps its first value. */
export type Form = {
  fields: ReadonlyMap<string, string>;
  duplicated: boolean;
  /** A stray `%`: Keycloak's decoder throws on it. */
  malformed: boolean;
};

const STRAY_PERCENT = /%(?![0-9a-f]{2})/i;
const decode = (text: string): string => lenientDecode(text.replaceAll('+', ' '));

/** Fields of an application/x-www-form-urlencoded body; of any other type, none. */
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
