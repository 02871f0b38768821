import type { EndpointResponse } from './response.ts';

/** What the request log and the faults use of a request. */
export interface RequestFacts {
  readonly realm: string;
  readonly username: string;
  readonly secrets: readonly string[];
}

/** An endpoint beside those of Keycloak, such as the login of another API on the same host. It serves POST only. */
export interface ExtraEndpoint {
  /** Its name in the request log and in faults. */
  readonly name: string;
  readonly path: string;
  factsOf(body: string): RequestFacts;
  /** @param skewSeconds added to each time in the response, by the fault `clock-skew` */
  respond(body: string, skewSeconds: number): EndpointResponse;
}
