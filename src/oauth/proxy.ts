import { BlockList, isIP, isIPv6 } from 'node:net';
import { sanitize } from '../lib/sensitive.ts';
import type { Environment } from './environment.ts';

/** Values of the environment variables; empty for none. */
export interface ProxySettings {
  /** `HTTPS_PROXY` */
  readonly https: string;
  /** `NO_PROXY` */
  readonly except: string;
}

/** What is wrong with the proxy's variables. The URL is not quoted, because it may hold a password. */
export function proxyProblems({ https, except }: ProxySettings): string[] {
  return [
    ...(https === '' || isProxyUrl(https) ? [] : ['HTTPS_PROXY is no http:// or https:// URL']),
    ...entriesOf(except)
      .filter((entry) => entry.includes('/') && rangeFrom(entry) === undefined)
      .map(
        (entry) =>
          `NO_PROXY holds "${sanitize(entry, [])}", which is no host, domain or address range`,
      ),
  ];
}

function isProxyUrl(text: string): boolean {
  try {
    const { username, password } = new URL(text);
    // undici decodes both
    decodeURIComponent(username + password);
    return /^https?:\/\/[^/]/i.test(text);
  } catch {
    return false;
  }
}

/**
 * `NO_PROXY` as undici understands it, which knows no address ranges: an address of the environment in such a range
 * stands in place of it. As in Go and curl, a host that is a name is in no range: it is not resolved.
 */
export function exceptionsFor({ tokenUrl, loginUrl }: Environment, except: string): string {
  const [ranges, others] = split(entriesOf(except));
  const addresses = [tokenUrl, loginUrl].map(addressIn).filter((each) => isIP(each) !== 0);
  const excepted = addresses.filter((each) =>
    ranges.some((range) => range.check(each, familyOf(each))),
  );
  return [...others, ...excepted].join(',');
}

/** As undici separates them. */
const entriesOf = (except: string): string[] =>
  except.split(/[,\s]/).filter((entry) => entry !== '');

function split(entries: readonly string[]): [BlockList[], string[]] {
  const ranges = entries.map(rangeFrom).filter((range) => range !== undefined);
  return [ranges, entries.filter((entry) => !entry.includes('/'))];
}

/** From `10.0.0.0/8` or `fd00::/8`. */
function rangeFrom(entry: string): BlockList | undefined {
  const [, address = '', bits = ''] = /^([^/]+)\/(\d{1,3})$/.exec(entry) ?? [];
  const longest = isIPv6(address) ? 128 : 32;
  if (isIP(address) === 0 || Number(bits) > longest) return undefined;
  const range = new BlockList();
  range.addSubnet(address, Number(bits), familyOf(address));
  return range;
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIPv6(address) ? 'ipv6' : 'ipv4');

const addressIn = (url: string): string => new URL(url).hostname.replace(/^\[(.+)\]$/, '$1');
