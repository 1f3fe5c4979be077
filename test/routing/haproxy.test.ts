import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { choosePort, startHaproxy, stopHaproxy } from "../../provider/local/haproxyProcess";
import { countAnswers } from "../answers";
import { expected, type Outcome, type RoutingState, type Row, table, token } from "./requests";

/** So many requests show a share by the percent, since HAProxy takes its servers in turn. */
const REQUESTS = 40;

describe("a real HAProxy with the config of the target local sends", function () {
  this.timeout(30_000);
  const binary = process.env.RAYSHIFT_HAPROXY ?? "haproxy";
  let folder: string;
  let backends: Server[];

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rayshift-routing-"));
    backends = await Promise.all(["v1", "v2"].map(answering));
  });
  after(async () => {
    rmSync(folder, { recursive: true, force: true });
    for (const server of backends) {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    }
  });

  const answering = async (version: string) => {
    const server = createServer((_request, response) => {
      response.end(JSON.stringify({ version }));
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    return server;
  };
  const addresses = () => backends.map((server) => `127.0.0.1:${(server.address() as AddressInfo).port}`);

  const routing = (port: number, { primary, canary }: RoutingState, guarded: boolean) => ({
    port,
    backends: [primary, ...(canary === undefined ? [] : [canary])].map((weight, index) => ({
      version: `v${index + 1}`,
      address: addresses()[index] ?? "",
      weight,
    })),
    primary: "v1",
    ...(canary === undefined ? {} : { canary: "v2" }),
    ...(guarded ? { queryAuthToken: token } : {}),
  });

  const observed = async (port: number, { request }: Row): Promise<Outcome> => {
    const counts = await countAnswers(`http://127.0.0.1:${port}${request.path}`, request.headers, REQUESTS);
    const shares = Object.entries(counts).map(([answer, count]) => [answer, (100 * count) / REQUESTS] as const);
    const [only] = shares;
    return shares.length === 1 && /^\d{3}$/.test(only?.[0] ?? "") ? Number(only?.[0]) : Object.fromEntries(shares);
  };

  // One HAProxy for all rows of a state.
  const states = [...new Set(table.map(({ state, guarded }) => JSON.stringify([state, guarded])))];
  for (const key of states) {
    const [state, guarded] = JSON.parse(key) as [RoutingState, boolean];
    const weights = state.canary === undefined ? "one version" : `${state.primary} and ${state.canary} %`;
    describe(`with ${weights}${guarded ? "" : ", open to all"}`, () => {
      const directory = () => join(folder, Buffer.from(key).toString("hex").slice(0, 40));
      let port: number;
      before(async () => {
        port = await choosePort(directory());
        await startHaproxy(binary, directory(), routing(port, state, guarded));
      });
      after(() => stopHaproxy(directory(), 0, new AbortController().signal));
      for (const row of table.filter((each) => JSON.stringify([each.state, each.guarded]) === key)) {
        it(`${row.title} to ${JSON.stringify(expected(row, "local"))}`, async () => {
          assert.deepEqual(await observed(port, row), expected(row, "local"));
        });
      }
    });
  }
});
