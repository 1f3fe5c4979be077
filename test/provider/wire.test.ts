import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { secretKeys, unwrap, wrapSecrets } from "../../provider/wire";

const unknown = pulumi.runtime.unknownValue;
const signature = pulumi.runtime.specialSigKey;

function secret(value: unknown) {
  return { [signature]: pulumi.runtime.specialSecretSig, value };
}

describe("unwrap", () => {
  it("leaves plain values as they are", () => {
    const bag = { a: 1, b: "x", c: false, d: [1, [2]], e: { f: { g: "" } }, zero: 0 };
    assert.deepEqual(unwrap(bag), bag);
  });

  it("opens secrets at any depth", () => {
    const bag = { a: secret("x"), b: { c: [secret({ d: secret(1) })] } };
    assert.deepEqual(unwrap(bag), { a: "x", b: { c: [{ d: 1 }] } });
  });

  it("leaves unknown values out", () => {
    assert.deepEqual(unwrap({ a: unknown, b: { c: unknown, d: 1 }, e: secret(unknown) }), { b: { d: 1 } });
  });

  it("takes a property of null as absent, a secret one too", () => {
    assert.deepEqual(unwrap({ a: null, b: secret(null), c: 1 }), { c: 1 });
  });

  it("keeps null where it is a value: a route of null is not the default route", () => {
    const config = { applications: [{ route_prefix: null, user_config: { a: null, list: [1, null] } }] };
    assert.deepEqual(unwrap({ config }), { config });
    assert.deepEqual(unwrap({ config: secret(config) }), { config });
  });

  it("takes a value that only looks like a secret as it is", () => {
    const bag = { a: { [signature]: "other", value: 1 }, b: { value: 1 } };
    assert.deepEqual(unwrap(bag), bag);
  });
});

describe("secretKeys", () => {
  it("names the properties that are or hold secrets", () => {
    assert.deepEqual(
      secretKeys({ plain: { a: [1] }, own: secret(1), inside: { a: [{ b: secret(1) }] }, none: null, text: "secret" }),
      ["own", "inside"],
    );
  });
});

describe("wrapSecrets", () => {
  it("marks the named properties as the SDK reads secrets, and leaves the others", async () => {
    const bag = wrapSecrets({ a: { b: 1 }, c: "plain" }, ["a"]);
    assert.deepEqual(bag, { a: secret({ b: 1 }), c: "plain" });
    assert.equal(pulumi.runtime.isRpcSecret(bag.a), true);
  });

  it("leaves out what is undefined, and invents nothing", () => {
    assert.deepEqual(wrapSecrets({ a: undefined, b: 0 }, ["a", "missing"]), { b: 0 });
  });

  it("is undone by unwrap", () => {
    const state = { a: { b: [1, null] }, c: "x" };
    assert.deepEqual(unwrap(wrapSecrets(state, ["a", "c"])), state);
  });
});
