import { readFile } from 'node:fs/promises';
import type { ControlPlane } from '../envtest/control-plane.ts';
import { OPERATOR_USER } from './operator.ts';

/** Every request of the operator's user, one line each: which verb on which object. */
export const AUDIT_OPERATOR = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata', users: [OPERATOR_USER] }, { level: 'None' }],
};

export interface AuditedRequest {
  readonly verb: string;
  /** Such as `secrets`, or `convercuscredentials/status`. */
  readonly resource: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  /** Status code of the response. */
  readonly code: number;
}

/** The audit log of a control plane that was started with `AUDIT_OPERATOR`. */
export class AuditLog {
  readonly #controlPlane: ControlPlane;

  constructor(controlPlane: ControlPlane) {
    this.#controlPlane = controlPlane;
  }

  /** Number of lines. */
  async length(): Promise<number> {
    return (await this.#lines()).length;
  }

  /** The requests from this line on. */
  async since(line: number): Promise<AuditedRequest[]> {
    return (await this.#lines()).slice(line).map((text) => {
      const { verb, objectRef = {}, responseStatus } = JSON.parse(text);
      const { resource = '', subresource, namespace, name } = objectRef;
      return {
        verb,
        resource: subresource === undefined ? resource : `${resource}/${subresource}`,
        namespace,
        name,
        code: responseStatus?.code ?? 0,
      };
    });
  }

  async #lines(): Promise<string[]> {
    return (await readFile(this.#controlPlane.auditLog, 'utf8')).trim().split('\n');
  }
}
