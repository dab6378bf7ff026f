import type { Clock } from "./clock.js";

/** What a provider is told. */
export interface CredentialRequest {
  /** The last credential was refused, or has expired. */
  readonly refused: boolean;
}

/** Gives the credential of a connection: a JWT or an API key; undefined: none. */
export type TokenProvider = (request: CredentialRequest) => string | undefined | Promise<string | undefined>;

/** For how long a call of a provider is joined by others: one that takes longer may hang. */
const joinedFor = 1_000;

/** Who asks while an answer is on its way gets the same: watches that are refused together are no crowd at the login. */
export function together(provider: TokenProvider, clock: Clock): TokenProvider {
  const asked = new Map<boolean, { at: number; answer: Promise<string | undefined> }>();
  return (request) => {
    const last = asked.get(request.refused);
    if (last && clock.now() - last.at <= joinedFor) return last.answer;
    const question = { at: clock.now(), answer: (async () => provider(request))() };
    asked.set(request.refused, question);
    const forget = () => void (asked.get(request.refused) === question && asked.delete(request.refused));
    question.answer.then(forget, forget);
    return question.answer;
  };
}

/**
 * The credentials of one watch: asks the provider before each connection, and tells it
 * whether the last one was refused.
 */
export class Credentials {
  #refused = false;
  #fresh: { value: string | undefined } | undefined;

  constructor(private readonly provider: string | TokenProvider | undefined) {}

  /** For a connection that is about to be made. */
  async next(): Promise<string | undefined> {
    const fresh = this.#fresh;
    this.#fresh = undefined;
    return fresh ? fresh.value : this.#ask(this.#refused);
  }

  /** For a connection that goes on. */
  renew(): Promise<string | undefined> {
    return this.#ask(false);
  }

  accepted(): void {
    this.#refused = false;
  }

  /** The next connection is to have a fresh one. */
  expired(): void {
    this.#refused = true;
  }

  /** Whether the provider has another credential than the one that was refused. */
  async another(refused: string | undefined): Promise<boolean> {
    if (typeof this.provider !== "function") return false;
    this.#refused = true;
    const value = await this.#ask(true);
    this.#fresh = { value };
    return value !== undefined && value !== refused;
  }

  async #ask(refused: boolean): Promise<string | undefined> {
    const value = typeof this.provider === "function" ? await this.provider({ refused }) : this.provider;
    return value || undefined;
  }
}
