/** What is there in every world, and is picked by the dice. */

export const NAMESPACES = ['shop', 'ops'] as const;
/** Labels of a namespace that ClusterConvercusCredentials select. */
export const SELECTED: Readonly<Record<string, string>> = { cluster: 'yes' };
/** Credentials Secrets: the first holds what client-1 presents, the second that of client-2. */
export const SOURCES = ['source-1', 'source-2'] as const;
/** Of credentials Secrets and sessions of ClusterConvercusCredentials. */
export const CREDENTIALS_NAMESPACE = 'ops';
export const clientOf = (source: string): string => source.replace('source', 'client');
