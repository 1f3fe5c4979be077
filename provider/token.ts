import { randomBytes } from "node:crypto";
import type { ResourceType } from "./resource";

export interface TokenInputs {
  /** Random bytes in the token; 32 when absent. */
  bytes?: number;
}

export interface TokenState extends TokenInputs {
  /** Base64url text, a secret of the stack. */
  value: string;
}

/** `rayserve:index:Token`: a random secret that is made once and kept in the stack. */
export const token: ResourceType<TokenInputs, TokenState> = {
  secrets: ["value"],
  check({ bytes = 32 }) {
    if (Number.isInteger(bytes) && bytes >= 16 && bytes <= 256) return [];
    return [{ property: "bytes", reason: `a token has 16 to 256 random bytes, got ${bytes}; leave it out for 32` }];
  },
  diff: (state, inputs) => {
    const changes = state.bytes !== inputs.bytes;
    return { changes, replaces: changes ? ["bytes"] : [] };
  },
  create: async (inputs) => ({
    id: "token",
    state: { ...inputs, value: randomBytes(inputs.bytes ?? 32).toString("base64url") },
  }),
  read: async (_id, state) => state,
  update: async (_id, state) => state,
  delete: async () => {},
};
