import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { type OperationContext, PartialFailure, type ResourceType } from "../../provider/resource";
import { providerFor, underway } from "../../provider/server";
import { token } from "../../provider/token";

interface Inputs {
  size: number;
  password?: string;
  config?: unknown;
}
interface State extends Inputs {
  address: string;
  key: string;
}

const urn = "urn:pulumi:dev::rayshift::rayshift:index:Service$rayserve:test:Thing::thing-v1";

function secret(value: unknown) {
  return { [pulumi.runtime.specialSigKey]: pulumi.runtime.specialSecretSig, value };
}

/** Keeps everything, and says what it was called with. */
class Things implements ResourceType<Inputs, State> {
  readonly secrets = ["key" as const];
  readonly calls: unknown[][] = [];
  context: OperationContext | undefined;
  fail: Error | undefined;
  gone = false;
  meanwhile: () => Promise<void> | void = () => {};

  private async called(context: OperationContext, ...call: unknown[]): Promise<void> {
    this.calls.push(call);
    this.context = context;
    await this.meanwhile();
    if (this.fail) throw this.fail;
  }

  check({ size, password }: Partial<Inputs>) {
    const reason = `${size} and ${password} are not allowed`;
    return size !== undefined && size < 0 ? [{ property: "size", reason }] : [];
  }
  diff(state: State, inputs: Inputs) {
    this.calls.push(["diff", state, inputs]);
    return { changes: state.size !== inputs.size, ...(inputs.size > 10 ? { replaces: ["size"] } : {}) };
  }
  async create(inputs: Inputs, context: OperationContext) {
    await this.called(context, "create", inputs);
    return { id: "thing", state: { ...inputs, address: "here", key: "generated" } };
  }
  async read(id: string, state: State, context: OperationContext) {
    await this.called(context, "read", id, state);
    return this.gone ? undefined : { ...state, address: "found" };
  }
  async update(id: string, state: State, inputs: Inputs, context: OperationContext) {
    await this.called(context, "update", id, state, inputs);
    return { ...state, ...inputs };
  }
  async delete(id: string, state: State, context: OperationContext) {
    await this.called(context, "delete", id, state);
  }
}

describe("the provider", () => {
  let things: Things;
  let controller: AbortController;
  let lines: unknown[][];
  let provider: Required<pulumi.provider.Provider>;
  beforeEach(() => {
    things = new Things();
    controller = new AbortController();
    lines = [];
    const types = { "rayserve:test:Thing": things, "rayserve:index:Token": token };
    provider = providerFor(types, "1.2.3", controller, (...line) => lines.push(line)) as typeof provider;
  });

  it("says its version", () => assert.equal(provider.version, "1.2.3"));

  it("names a type that it does not have", async () => {
    const unknown = urn.replace("Thing", "Other");
    await assert.rejects(provider.create(unknown, {}), /unknown resource type rayserve:test:Other/);
    await assert.rejects(provider.check(unknown, {}, {}), /unknown resource type rayserve:test:Other/);
  });

  describe("with secrets", () => {
    it("checks the plain values and gives the inputs back as they came", async () => {
      const news = { size: -1, password: secret("p") };
      assert.deepEqual(await provider.check(urn, {}, news), {
        inputs: news,
        failures: [{ property: "size", reason: "-1 and p are not allowed" }],
      });
    });

    it("checks what is known in a preview", async () => {
      const { failures } = await provider.check(urn, {}, { size: pulumi.runtime.unknownValue });
      assert.deepEqual(failures, []);
    });

    it("creates from plain values; what came or is declared as a secret goes back as one", async () => {
      const { id, outs } = await provider.create(urn, { size: 1, password: secret("p"), config: { a: [secret(1)] } });
      assert.deepEqual(things.calls, [["create", { size: 1, password: "p", config: { a: [1] } }]]);
      assert.equal(id, "thing");
      assert.deepEqual(outs, {
        size: 1,
        password: secret("p"),
        config: secret({ a: [1] }),
        address: "here",
        key: secret("generated"),
      });
    });

    it("leaves what came plain readable", async () => {
      const { outs } = await provider.create(urn, { size: 1, password: "p" });
      assert.equal(outs.password, "p");
    });

    it("reads and updates likewise", async () => {
      const state = { size: 1, password: secret("p"), address: "here", key: secret("k") };
      const plain = { size: 1, password: "p", address: "here", key: "k" };
      assert.deepEqual(await provider.read("thing", urn, state), {
        id: "thing",
        props: { ...state, address: "found" },
      });
      const { outs } = await provider.update("thing", urn, state, { size: 2, password: secret("q") });
      assert.deepEqual(outs, { ...state, size: 2, password: secret("q") });
      await provider.delete("thing", urn, state);
      assert.deepEqual(things.calls, [
        ["read", "thing", plain],
        ["update", "thing", plain, { size: 2, password: "q" }],
        ["delete", "thing", plain],
      ]);
    });

    it("compares plain values", async () => {
      const olds = { size: 1, key: secret("k"), address: "here" };
      const same = await provider.diff("thing", urn, olds, { size: secret(1) });
      assert.deepEqual(same, { changes: false, replaces: [], deleteBeforeReplace: false });
      assert.deepEqual(things.calls, [["diff", { size: 1, key: "k", address: "here" }, { size: 1 }]]);
    });

    it("keeps the value of a token secret", async () => {
      const tokenUrn = urn.replace("rayserve:test:Thing", "rayserve:index:Token");
      const created = await provider.create(tokenUrn, {});
      assert.equal(pulumi.runtime.isRpcSecret(created.outs.value), true);
      const read = await provider.read(created.id, tokenUrn, created.outs);
      assert.deepEqual(read.props, created.outs);
    });
  });

  it("replaces by ending the old one first", async () => {
    const difference = await provider.diff("thing", urn, { size: 1 }, { size: 11 });
    assert.deepEqual(difference, { changes: true, replaces: ["size"], deleteBeforeReplace: true });
  });

  it("gives an empty id for what is gone", async () => {
    things.gone = true;
    assert.deepEqual(await provider.read("thing", urn, { size: 1 }), { id: "", props: {} });
  });

  describe("on a failure", () => {
    it("keeps the state of a partial one, with its secrets, its id and its reason", async () => {
      const state = { size: 2, password: "p", address: "half", key: "k" };
      things.fail = new PartialFailure("only half of it", "thing", state);
      const expected = {
        message: "only half of it",
        id: "thing",
        properties: { size: 2, password: secret("p"), address: "half", key: secret("k") },
        reasons: ["only half of it"],
      };
      await assert.rejects(provider.create(urn, { size: 2, password: secret("p") }), expected);
      await assert.rejects(provider.update("thing", urn, { size: 1 }, { size: 2, password: secret("p") }), expected);
    });

    it("passes any other on as it is", async () => {
      things.fail = new Error("nothing happened");
      const bare = (error: unknown) => error === things.fail;
      await assert.rejects(provider.create(urn, { size: 1 }), bare);
      await assert.rejects(provider.delete("thing", urn, { size: 1 }), bare);
    });
  });

  describe("when the update is cancelled", () => {
    it("aborts what is under way, and begins nothing more", async () => {
      things.meanwhile = async () => {
        await provider.cancel();
        things.context?.signal.throwIfAborted();
      };
      await assert.rejects(provider.create(urn, { size: 1 }), /the update was cancelled/);
      const calls = things.calls.length;
      const cancelled = /the update was cancelled/;
      await assert.rejects(provider.create(urn, { size: 1 }), cancelled);
      await assert.rejects(provider.read("thing", urn, { size: 1 }), cancelled);
      await assert.rejects(provider.update("thing", urn, { size: 1 }, { size: 2 }), cancelled);
      await assert.rejects(provider.delete("thing", urn, { size: 1 }), cancelled);
      assert.equal(things.calls.length, calls);
    });

    it("begins nothing either when the engine is gone, and says so", async () => {
      controller.abort(new Error("the engine that started this update is gone"));
      await assert.rejects(provider.delete("thing", urn, { size: 1 }), /engine .* is gone/);
      assert.deepEqual(things.calls, []);
    });
  });

  it("counts the operations under way, also those that fail", async () => {
    const counts: number[] = [];
    const start = underway.count;
    things.meanwhile = () => void counts.push(underway.count - start);
    await Promise.all([provider.create(urn, { size: 1 }), provider.update("thing", urn, {}, { size: 1 })]);
    assert.equal(Math.max(...counts), 2);
    things.fail = new Error("no");
    await assert.rejects(provider.create(urn, { size: 1 }));
    assert.equal(underway.count, start);
  });

  it("gives operations their name, and their lines to the resource in the engine", async () => {
    await provider.create(urn, { size: 1 });
    assert.deepEqual([things.context?.urn, things.context?.name], [urn, "thing-v1"]);
    things.context?.progress("waiting");
    things.context?.warn("careful");
    assert.deepEqual(lines, [
      [urn, "info", "waiting", true],
      [urn, "warning", "careful", false],
    ]);
  });
});
