import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "../../setup/support";

const run = promisify(execFile);

/** Asks the gate about requests, each a list of headers; answers with a status, 200 where it lets them through. */
async function statuses(requests: Array<Array<[string, string]>>): Promise<number[]> {
  const script = `
import json, sys
sys.path.insert(0, sys.argv[1])
from rayshift_gate import Gate
gate = Gate(None, b"Bearer SeCret")
def status(headers):
    problem = gate.problem([(name.encode(), value.encode()) for name, value in headers])
    return 200 if problem is None else problem[0]
print(json.dumps([status(each) for each in json.loads(sys.argv[2])]))
`;
  const args = ["-c", script, join(root, "components", "cloud"), JSON.stringify(requests)];
  const { stdout } = await run(process.env.RAYSHIFT_PYTHON ?? "python3", ["-B", ...args]);
  return JSON.parse(stdout);
}

describe("the gate at Serve's proxy", function () {
  this.timeout(20_000);

  it("refuses what is right but for its case, and leaves the rest to the load balancer", async () => {
    const authorization = (value: string): Array<[string, string]> => [["authorization", value]];
    const version = (value: string): Array<[string, string]> => [["x-anyscale-version", value]];
    const seen = await statuses([
      authorization("Bearer SeCret"),
      authorization("Bearer secret"),
      authorization("BEARER SECRET"),
      authorization("Bearer other"),
      [],
      version("canary"),
      version("Canary"),
      version("PRIMARY"),
      version("v7"),
    ]);
    assert.deepEqual(seen, [200, 401, 401, 200, 200, 200, 400, 400, 200]);
  });
});
