import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { KubeConfig } from '@kubernetes/client-node';
import { textAt } from '../lib/json.ts';

/** Where a certificate or key is: a file, or base64 in the kubeconfig. */
interface Place {
  readonly file: string | undefined;
  readonly data: string | undefined;
}

/** What is wrong with the certificates and the key of a kubeconfig. Nothing of their contents is told. */
export function tlsProblem(config: KubeConfig): string | undefined {
  const { caFile, caData } = config.getCurrentCluster() ?? {};
  const { certFile, certData, keyFile, keyData } = config.getCurrentUser() ?? {};
  const cert = { file: certFile, data: certData };
  const key = { file: keyFile, data: keyData };
  return (
    certificateProblem('certificate-authority', { file: caFile, data: caData }) ??
    certificateProblem('client-certificate', cert) ??
    keyProblem(key, cert)
  );
}

function certificateProblem(name: string, place: Place): string | undefined {
  return problemOf(name, 'certificate', () => {
    const pem = contentOf(place);
    return pem && new X509Certificate(pem);
  });
}

function keyProblem(place: Place, certificate: Place): string | undefined {
  let isOfCertificate = true;
  const problem = problemOf('client-key', 'private key', () => {
    const [pem, cert] = [contentOf(place), contentOf(certificate)];
    if (pem === undefined) return;
    const key = createPrivateKey(pem);
    isOfCertificate = cert === undefined || new X509Certificate(cert).checkPrivateKey(key);
  });
  if (isOfCertificate) return problem;
  return 'has a client-key that is not the one of its client-certificate';
}

/** Errors of parsers may quote what they read, so only the code of one that could not read a file is told. */
function problemOf(name: string, what: string, parse: () => unknown): string | undefined {
  try {
    parse();
    return undefined;
  } catch (error) {
    const code = textAt(error, 'code') ?? '';
    if (/^E[A-Z]+$/.test(code)) return `names a ${name} that can't be read (${code})`;
    return `has a ${name} that is no ${what} in PEM`;
  }
}

/** The file first, as the client library has it. */
function contentOf({ file, data }: Place): Buffer | undefined {
  if (file) return readFileSync(file);
  return data ? Buffer.from(data, 'base64') : undefined;
}
