import assert from "node:assert/strict";
import type { OperationContext } from "../../provider/resource";
import { token } from "../../provider/token";

const context: OperationContext = {
  urn: "urn:pulumi:dev::rayshift::rayserve:index:Token::query-token",
  name: "query-token",
  signal: new AbortController().signal,
  progress: () => {},
  warn: () => {},
};

describe("token", () => {
  it("is random, of as many bytes as asked for, and fits into a header", async () => {
    const values = await Promise.all(
      [{}, {}, { bytes: 16 }, { bytes: 256 }].map(async (inputs) => (await token.create(inputs, context)).state.value),
    );
    assert.deepEqual(
      values.map((value) => Buffer.from(value, "base64url").length),
      [32, 32, 16, 256],
    );
    assert.equal(new Set(values).size, values.length);
    for (const value of values) assert.match(value, /^[\w-]+$/);
  });

  it("is a secret of the stack", () => {
    assert.deepEqual(token.secrets, ["value"]);
  });

  it("stays what it is when it is read and updated", async () => {
    const { id, state } = await token.create({ bytes: 24 }, context);
    assert.equal(state.bytes, 24);
    assert.deepEqual(await token.read(id, state, context), state);
    assert.deepEqual(await token.update(id, state, { bytes: 24 }, context), state);
    await token.delete(id, state, context);
  });

  it("is replaced when the number of bytes changes, and only then", () => {
    const state = { value: "x" };
    assert.deepEqual(token.diff(state, {}), { changes: false, replaces: [] });
    assert.deepEqual(token.diff({ ...state, bytes: 32 }, { bytes: 32 }), { changes: false, replaces: [] });
    assert.deepEqual(token.diff({ ...state, bytes: 32 }, { bytes: 64 }), { changes: true, replaces: ["bytes"] });
    assert.deepEqual(token.diff({ ...state, bytes: 32 }, {}), { changes: true, replaces: ["bytes"] });
  });

  it("refuses too few, too many and broken numbers of bytes with the bounds", () => {
    for (const bytes of [15, 257, 32.5, Number.NaN, -1]) {
      const [failure, ...more] = token.check({ bytes });
      assert.equal(more.length, 0);
      assert.equal(failure?.property, "bytes");
      assert.match(failure?.reason ?? "", /16 to 256 random bytes/);
    }
    for (const inputs of [{}, { bytes: 16 }, { bytes: 256 }]) assert.deepEqual(token.check(inputs), []);
  });
});
